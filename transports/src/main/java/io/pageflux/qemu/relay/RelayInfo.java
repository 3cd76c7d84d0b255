package io.pageflux.qemu.relay;

import java.time.Duration;

/**
 * How far a relay is.
 *
 * @param qemuBytes bytes taken from the source's QEMU, or given to the destination's
 * @param wireBytes bytes of records that the two relays have exchanged for them
 * @param zeroPages pages of zeros among them
 * @param rawPages pages that went whole between the relays
 * @param deltaPages pages that went as deltas
 * @param unchangedPages pages that had been sent as they are, and did not go again; known to the
 *     source's relay only
 * @param returnedBytes bytes that the destination's QEMU has said to the source's
 * @param windowBytes how many bytes may be under way between the relays; 0 at the destination's
 * @param duration since QEMU, or its relay, has connected
 * @param complete whether both QEMUs have closed their streams in order
 */
public record RelayInfo(
    long qemuBytes,
    long wireBytes,
    long zeroPages,
    long rawPages,
    long deltaPages,
    long unchangedPages,
    long returnedBytes,
    long windowBytes,
    Duration duration,
    boolean complete) {}
