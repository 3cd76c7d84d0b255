package io.pageflux.postcopy;

import java.time.Duration;

/**
 * A post-copy in figures. Bytes are those of records on all connections, by phase as in QEMU's
 * {@code query-migrate}.
 *
 * @param switchAfter when the switch began, since the migration did
 * @param absentPages pages that the destination lacked when the guest started there
 * @param requests pages that were asked for: QEMU's {@code postcopy-requests}
 * @param demandedPages pages that were sent because they were asked for; others had been on their
 *     way
 * @param pushedPages pages that were sent in the background
 * @param ownedPages absent pages that the guest wrote as a whole; 0 at the source, which does not
 *     know
 * @param precopyBytes until the switch
 * @param downtimeBytes from there until the guest ran at the destination
 * @param postcopyBytes since then
 * @param latency how long pages that were asked for took, from the first who needed them; empty at
 *     the source, which does not know
 */
public record PostcopyStatistics(
    Duration switchAfter,
    long absentPages,
    long requests,
    long demandedPages,
    long pushedPages,
    long ownedPages,
    long precopyBytes,
    long downtimeBytes,
    long postcopyBytes,
    LatencyHistogram.Summary latency) {}
