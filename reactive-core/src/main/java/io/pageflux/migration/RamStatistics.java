package io.pageflux.migration;

/**
 * What was done with the guest's memory so far, with QEMU's meanings.
 *
 * @param transferred bytes sent, everything included
 * @param remaining bytes of pages that are dirty and have not been sent
 * @param total bytes of the guest's memory
 * @param duplicate zero pages sent
 * @param normal whole pages sent
 * @param normalBytes bytes of whole pages sent, before compression
 * @param dirtyPagesRate pages that the guest dirtied per second, lately
 * @param mbps megabits (10^6) per second that were sent, lately; over the whole migration at its
 *     end
 * @param dirtySyncCount how often the dirty pages were collected
 * @param pageSize bytes of a page of the first block
 * @param pagesPerSecond pages handled per second, lately; over the whole migration at its end
 */
public record RamStatistics(
    long transferred,
    long remaining,
    long total,
    long duplicate,
    long normal,
    long normalBytes,
    long dirtyPagesRate,
    double mbps,
    long dirtySyncCount,
    int pageSize,
    long pagesPerSecond) {}
