package io.pageflux.codec;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Turns the deltas of a batch into raw pages, in its slab.
 *
 * <p>A delta is a change to what the destination's memory holds of the page, so everything that was
 * sent of that page before must have been loaded: expand and load batches in the order in which
 * they were sent.
 *
 * <p><b>Memory bound:</b> {@value Xbzrle#MAX_PAGE_BYTES} bytes outside the heap, besides the
 * batch's own slab.
 *
 * <p><b>Threading:</b> for one thread at a time; {@link #deltaPages()} for any.
 */
public final class DeltaDecoder {

  private final MemorySegment scratch = Arena.ofAuto().allocate(Xbzrle.MAX_PAGE_BYTES);
  private volatile long deltaPages;

  /** Makes a decoder. */
  public DeltaDecoder() {}

  /**
   * Makes every delta of a batch a raw page; a batch without one stays as it is. The memory is only
   * read.
   *
   * @param batch not compressed
   * @param memory the destination's, with the same blocks
   * @throws MigrationException of kind {@code INTEGRITY}, if a delta is broken or the raw pages do
   *     not fit the batch, of kind {@code LAYOUT}, if the memory has no such block; the batch is as
   *     it was
   * @throws IllegalStateException if the batch is compressed
   */
  public void expand(PageBatch batch, GuestMemory memory) {
    expand(batch, memory.blocks());
  }

  /**
   * The same for batches that count blocks in another order, or not all of them.
   *
   * @param blocks the destination's, as the batch's block index counts them
   */
  public void expand(PageBatch batch, List<RamBlock> blocks) {
    if (batch.isCompressed()) {
      throw new IllegalStateException("the batch is compressed: decompress it first");
    }
    int deltas = batch.count(PageKind.DELTA);
    if (deltas == 0) {
      return;
    }
    RamBlock block = Targets.block(batch, blocks);
    long expandedBytes = check(batch);
    MemorySegment slab = batch.slab();
    long end = (long) batch.payloadOffset() + batch.payloadBytes();
    long newEnd = batch.payloadOffset() + expandedBytes;
    // From the last page on: contents only move up, so nothing is overwritten that is still needed,
    // except by the page to which it belongs; hence the scratch. When both ends have met, all pages
    // before are in place.
    for (int i = batch.size() - 1; end != newEnd; i--) {
      int length = batch.length(i);
      end -= length;
      if (batch.kind(i) == PageKind.DELTA) {
        newEnd -= block.pageSizeBytes();
        MemorySegment.copy(slab, end, scratch, 0, length);
        MemorySegment.copy(
            block.segment(), block.pageOffset(batch.page(i)), slab, newEnd, block.pageSizeBytes());
        Xbzrle.apply(scratch, 0, length, slab, newEnd, block.pageSizeBytes());
        batch.replace(i, PageKind.RAW, block.pageSizeBytes());
      } else {
        newEnd -= length;
        MemorySegment.copy(slab, end, slab, newEnd, length);
      }
    }
    deltaPages += deltas;
  }

  /** Checks all deltas before anything is changed. Returns how many bytes the raw pages need. */
  private static long check(PageBatch batch) {
    long offset = batch.payloadOffset();
    long expandedBytes = 0;
    for (int i = 0; i < batch.size(); i++) {
      int length = batch.length(i);
      if (batch.kind(i) == PageKind.DELTA) {
        try {
          Xbzrle.check(batch.slab(), offset, length, batch.pageSizeBytes());
        } catch (MigrationException e) {
          throw MigrationException.of(
              e.kind(),
              "page %d of block '%s': %s"
                  .formatted(batch.page(i), batch.block().name(), e.getMessage()),
              e);
        }
        expandedBytes += batch.pageSizeBytes();
      } else {
        expandedBytes += length;
      }
      offset += length;
    }
    if (expandedBytes > batch.capacityBytes()) {
      throw MigrationException.of(
          MigrationException.Kind.INTEGRITY,
          "the raw pages of %s take %d bytes, but a batch has at most %d"
              .formatted(batch, expandedBytes, batch.capacityBytes()));
    }
    return expandedBytes;
  }

  /** {@return how many deltas were expanded so far} */
  public long deltaPages() {
    return deltaPages;
  }
}
