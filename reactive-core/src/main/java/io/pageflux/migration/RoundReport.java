package io.pageflux.migration;

import java.time.Duration;

/**
 * One round, when it has been acknowledged.
 *
 * @param round its number, from 1
 * @param last whether the guest was paused
 * @param dirtyPages pages that were dirty when it began
 * @param zeroPages of those, pages sent as zero pages
 * @param rawPages pages sent whole
 * @param deltaPages pages sent as deltas
 * @param unchangedPages pages that were written but not changed, and not sent
 * @param bytes bytes sent
 * @param duration from its beginning to its acknowledgement
 */
public record RoundReport(
    int round,
    boolean last,
    long dirtyPages,
    long zeroPages,
    long rawPages,
    long deltaPages,
    long unchangedPages,
    long bytes,
    Duration duration) {}
