package io.pageflux.operator;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.lang.foreign.MemorySegment;

/**
 * Copies a set of pages out of guest memory into slabs, in ascending order, each page once.
 *
 * <p>Whoever calls it decides when, and on which thread; it is used serially. The set must not
 * change before the last page was copied.
 */
public final class PageCopier {

  private final GuestMemory memory;
  private final MemoryPages pages;
  private final DirtyTracker tracker;
  private final SlabPool pool;
  private int blockIndex;
  private long page;

  /**
   * Begins with the first page of a set.
   *
   * @param memory where the pages are
   * @param pages which ones
   * @param tracker is told of each copy
   * @param pool what the slabs are from
   */
  public PageCopier(GuestMemory memory, MemoryPages pages, DirtyTracker tracker, SlabPool pool) {
    this.memory = memory;
    this.pages = pages;
    this.tracker = tracker;
    this.pool = pool;
    this.page = pages.of(0).nextSet(0);
    skipCleanBlocks();
  }

  private void skipCleanBlocks() {
    while (page < 0 && ++blockIndex < memory.blocks().size()) {
      page = pages.of(blockIndex).nextSet(0);
    }
  }

  /** {@return whether every page has been copied} */
  public boolean isComplete() {
    return page < 0;
  }

  /**
   * Copies the next pages, as many as a batch holds.
   *
   * @param slab where to; the batch's from here on, and released if this fails
   * @return a batch of raw pages of one block
   * @throws IllegalStateException if the memory or the pool has been closed
   */
  public PageBatch copyTo(Lease slab) {
    try {
      return copy(slab);
    } catch (RuntimeException | Error e) {
      slab.release();
      throw e;
    }
  }

  private PageBatch copy(Lease slab) {
    BatchGeometry geometry = pool.geometry();
    RamBlock block = memory.block(blockIndex);
    PageSet set = pages.of(blockIndex);
    int pageSize = block.pageSizeBytes();
    PageBatch batch =
        new PageBatch(blockIndex, block.layout(), slab, geometry.headroomBytes(), geometry);
    MemorySegment bytes = slab.segment();
    long room = geometry.pagesPerBatch(pageSize);
    while (page >= 0 && room > 0) {
      long end = Math.min(set.nextClear(page), page + room);
      long offset = batch.payloadOffset() + batch.payloadBytes();
      MemorySegment.copy(
          block.segment(), block.pageOffset(page), bytes, offset, (end - page) * pageSize);
      for (long p = page; p < end; p++, offset += pageSize) {
        batch.append(p, PageKind.RAW, pageSize);
        tracker.copied(blockIndex, p, bytes, offset);
      }
      room -= end - page;
      page = set.nextSet(end);
    }
    skipCleanBlocks();
    return batch;
  }
}
