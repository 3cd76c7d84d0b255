package io.pageflux.codec;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Puts the pages of batches into the destination's memory.
 *
 * <p>A zero page touches memory only if it has to: a block that was made for this migration is all
 * zeros to begin with, and elsewhere a page is read before it is written, so that pages which the
 * kernel has not backed yet stay so.
 *
 * <p><b>Memory bound:</b> one bit of heap per page of the memory, to know which pages were written.
 *
 * <p><b>Ordering and threading:</b> for one thread at a time, batches in the order in which they
 * were sent; the counters are for any thread.
 */
public final class PageLoader {

  private final List<RamBlock> blocks;
  // By block: the pages that may be other than zero. All of them, if the block existed before.
  private final List<PageSet> written;

  private volatile long zeroPages;
  private volatile long rawPages;
  private volatile long untouchedZeroPages;

  /**
   * Makes a loader that has loaded nothing yet.
   *
   * @param memory the destination's; nobody else may write to it meanwhile
   */
  public PageLoader(GuestMemory memory) {
    this(memory.blocks());
  }

  /**
   * Makes a loader that has loaded nothing yet, for batches that count blocks in another order, or
   * not all of them.
   *
   * @param blocks the destination's, as the batches' block indices count them; nobody else may
   *     write to them meanwhile
   */
  public PageLoader(List<RamBlock> blocks) {
    this.blocks = List.copyOf(blocks);
    this.written = blocks.stream().map(PageLoader::mayBeWritten).toList();
  }

  private static PageSet mayBeWritten(RamBlock block) {
    PageSet pages = new PageSet(block.pageCount());
    if (!block.takeFresh()) {
      pages.addAll();
    }
    return pages;
  }

  /**
   * Writes the pages of a batch to the memory. The batch stays the caller's, and as it is.
   *
   * @throws MigrationException of kind {@code LAYOUT}, if the memory has no such block; nothing was
   *     written
   * @throws IllegalStateException if the batch is compressed or has deltas, or the memory is closed
   */
  public void load(PageBatch batch) {
    if (batch.isCompressed() || batch.count(PageKind.DELTA) > 0) {
      throw new IllegalStateException("decompress and expand the batch first: " + batch);
    }
    RamBlock block = Targets.block(batch, blocks);
    PageSet pages = written.get(batch.blockIndex());
    long offset = batch.payloadOffset();
    int untouched = 0;
    int end;
    for (int i = 0; i < batch.size(); i = end) {
      end = endOfRun(batch, i);
      if (batch.kind(i) == PageKind.RAW) {
        long bytes = (long) (end - i) * block.pageSizeBytes();
        pages.addRange(batch.page(i), batch.page(i) + (end - i));
        MemorySegment.copy(
            batch.slab(), offset, block.segment(), block.pageOffset(batch.page(i)), bytes);
        offset += bytes;
      } else if (batch.kind(i) == PageKind.PLACED) {
        // It is there. From here on it may be other than zero.
        pages.addRange(batch.page(i), batch.page(i) + (end - i));
      } else {
        for (long page = batch.page(i); page < batch.page(i) + (end - i); page++) {
          untouched += makeZero(block, page, pages) ? 0 : 1;
        }
      }
    }
    zeroPages += batch.count(PageKind.ZERO);
    rawPages += batch.count(PageKind.RAW);
    untouchedZeroPages += untouched;
  }

  /** The end of the run of consecutive pages of one kind: their contents are one piece. */
  private static int endOfRun(PageBatch batch, int from) {
    int end = from + 1;
    while (end < batch.size()
        && batch.page(end) == batch.page(end - 1) + 1
        && batch.kind(end) == batch.kind(from)) {
      end++;
    }
    return end;
  }

  private static boolean makeZero(RamBlock block, long page, PageSet written) {
    if (!written.contains(page)) {
      return false;
    }
    long offset = block.pageOffset(page);
    if (ZeroTest.isZero(block.segment(), offset, block.pageSizeBytes())) {
      return false;
    }
    block.segment().asSlice(offset, block.pageSizeBytes()).fill((byte) 0);
    return true;
  }

  /** {@return how many zero pages were loaded so far} */
  public long zeroPages() {
    return zeroPages;
  }

  /** {@return how many raw pages were loaded so far, those that came as deltas among them} */
  public long rawPages() {
    return rawPages;
  }

  /** {@return how many of the zero pages were zero already and so not written} */
  public long untouchedZeroPages() {
    return untouchedZeroPages;
  }
}
