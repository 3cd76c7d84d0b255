package io.pageflux.checkpoint;

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
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * The dirty pages of a checkpoint on their way out of a paused guest's memory: first as many as the
 * staging area holds, at once; the others as the area gets free, while the guest waits.
 *
 * <p>The staging area is the slab pool: pages are copied to where they are encoded and sent from,
 * and only once.
 *
 * <p><b>Threading:</b> copying is done on the scan thread, by the caller of {@link #fill} and by
 * {@link #batches}; {@link #release} may be called from any thread.
 */
final class CopyOut {

  private final GuestMemory memory;
  private final MemoryPages pages;
  private final DirtyTracker tracker;
  private final SlabPool pool;
  private final Scheduler scanThread;
  private final Queue<PageBatch> staged = new ConcurrentLinkedQueue<>();
  private int blockIndex;
  private long page;

  /**
   * @param pages what is copied; does not change meanwhile
   */
  CopyOut(
      GuestMemory memory,
      MemoryPages pages,
      DirtyTracker tracker,
      SlabPool pool,
      Scheduler scanThread) {
    this.memory = memory;
    this.pages = pages;
    this.tracker = tracker;
    this.pool = pool;
    this.scanThread = scanThread;
    this.page = pages.of(0).nextSet(0);
    skipCleanBlocks();
  }

  private void skipCleanBlocks() {
    while (page < 0 && ++blockIndex < memory.blocks().size()) {
      page = pages.of(blockIndex).nextSet(0);
    }
  }

  /** {@return whether every page has been copied} */
  boolean isComplete() {
    return page < 0;
  }

  /** Copies until nothing is left to copy or no slab is free. */
  void fill() {
    while (!isComplete()) {
      Lease free = pool.tryAcquire();
      if (free == null) {
        return;
      }
      staged.add(copy(free));
    }
  }

  /**
   * The batches, in order: those that were staged, and then the others.
   *
   * <p><b>Demand:</b> one batch for each requested, as soon as there is a slab for it.
   *
   * <p><b>Ordering and threading:</b> ascending, on the scan thread.
   *
   * <p><b>Discard and cancel:</b> after a cancel nothing is copied; what was staged stays so, until
   * {@link #release}.
   */
  Flux<PageBatch> batches() {
    return Flux.<CopyOut>generate(
            sink -> {
              if (staged.isEmpty() && isComplete()) {
                sink.complete();
              } else {
                sink.next(this);
              }
            })
        .concatMap(copyOut -> copyOut.next(), 0)
        .subscribeOn(scanThread)
        .doOnDiscard(Lease.class, Lease::release)
        .doOnDiscard(PageBatch.class, PageBatch::release);
  }

  private Mono<PageBatch> next() {
    PageBatch batch = staged.poll();
    if (batch != null) {
      return Mono.just(batch);
    }
    Lease free = pool.tryAcquire();
    Mono<Lease> slab = free != null ? Mono.just(free) : pool.acquireOn(scanThread);
    return slab.map(this::copy);
  }

  private PageBatch copy(Lease lease) {
    try {
      return copyTo(lease);
    } catch (RuntimeException | Error e) {
      lease.release();
      throw e;
    }
  }

  private PageBatch copyTo(Lease lease) {
    BatchGeometry geometry = pool.geometry();
    RamBlock block = memory.block(blockIndex);
    PageSet set = pages.of(blockIndex);
    int pageSize = block.pageSizeBytes();
    PageBatch batch =
        new PageBatch(blockIndex, block.layout(), lease, geometry.headroomBytes(), geometry);
    MemorySegment slab = lease.segment();
    long room = geometry.pagesPerBatch(pageSize);
    while (page >= 0 && room > 0) {
      long end = Math.min(set.nextClear(page), page + room);
      long offset = batch.payloadOffset() + batch.payloadBytes();
      MemorySegment.copy(
          block.segment(), block.pageOffset(page), slab, offset, (end - page) * pageSize);
      for (long p = page; p < end; p++, offset += pageSize) {
        batch.append(p, PageKind.RAW, pageSize);
        tracker.copied(blockIndex, p, slab, offset);
      }
      room -= end - page;
      page = set.nextSet(end);
    }
    skipCleanBlocks();
    return batch;
  }

  /** Gives back what was staged and not sent. When nobody takes batches any more. */
  void release() {
    for (PageBatch batch; (batch = staged.poll()) != null; ) {
      batch.release();
    }
  }
}
