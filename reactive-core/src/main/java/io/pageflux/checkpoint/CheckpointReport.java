package io.pageflux.checkpoint;

import java.time.Duration;

/**
 * A checkpoint as its source saw it.
 *
 * @param number its number, from 1
 * @param pause how long the guest stood still: from the request to pause until it ran again
 * @param scan the part of it in which the dirty pages were found
 * @param copyOut the part of it in which they were copied into the staging area; what did not fit
 *     was sent meanwhile, and is not in here
 * @param dirtyPages pages that were written since the checkpoint before
 * @param copiedBytes their size in bytes
 * @param fitted whether they all fitted the staging area; if not, the guest had to wait for the
 *     line
 * @param zeroPages pages that were sent as zero
 * @param rawPages as they are
 * @param deltaPages as a difference
 * @param wireBytes bytes on the wire, device state and headers included
 * @param deviceStateBytes bytes of device state
 * @param acknowledged from the request to pause until the destination held the checkpoint
 */
public record CheckpointReport(
    long number,
    Duration pause,
    Duration scan,
    Duration copyOut,
    long dirtyPages,
    long copiedBytes,
    boolean fitted,
    long zeroPages,
    long rawPages,
    long deltaPages,
    long wireBytes,
    long deviceStateBytes,
    Duration acknowledged) {

  /** {@return the pages that were written and are the same as before} */
  public long unchangedPages() {
    return dirtyPages - zeroPages - rawPages - deltaPages;
  }
}
