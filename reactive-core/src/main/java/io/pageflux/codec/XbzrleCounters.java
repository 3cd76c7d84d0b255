package io.pageflux.codec;

/**
 * What XBZRLE did so far, with the names and meanings of QEMU's {@code xbzrle-cache} statistics.
 *
 * @param cacheSizeBytes how many bytes of pages the cache can hold; 0 if no block has pages that it
 *     could hold
 * @param bytes what was sent of pages that were in the cache: 3 bytes and the encoded page each, or
 *     the whole page if it overflowed
 * @param pages pages that were in the cache, whether they were then sent as a delta, sent raw or,
 *     because nothing had changed, not sent
 * @param cacheMiss pages that were not in the cache
 * @param cacheMissRate misses per page looked at by the migration, in the last period
 * @param encodingRate bytes of the pages that were in the cache, by the bytes sent of them, in the
 *     last period; 0 if there were none
 * @param overflow pages that were in the cache but had changed too much to be sent as a delta
 */
public record XbzrleCounters(
    long cacheSizeBytes,
    long bytes,
    long pages,
    long cacheMiss,
    double cacheMissRate,
    double encodingRate,
    long overflow) {}
