package io.pageflux.checkpoint;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.operator.PageCopier;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
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

  private final PageCopier copier;
  private final SlabPool pool;
  private final Scheduler scanThread;
  private final Queue<PageBatch> staged = new ConcurrentLinkedQueue<>();

  /**
   * @param pages what is copied; does not change meanwhile
   */
  CopyOut(
      GuestMemory memory,
      MemoryPages pages,
      DirtyTracker tracker,
      SlabPool pool,
      Scheduler scanThread) {
    this.copier = new PageCopier(memory, pages, tracker, pool);
    this.pool = pool;
    this.scanThread = scanThread;
  }

  /** {@return whether every page has been copied} */
  boolean isComplete() {
    return copier.isComplete();
  }

  /** Copies until nothing is left to copy or no slab is free. */
  void fill() {
    while (!isComplete()) {
      Lease free = pool.tryAcquire();
      if (free == null) {
        return;
      }
      staged.add(copier.copyTo(free));
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

  /**
   * Deferred, so that nothing is taken but for somebody: concatMap() takes what a Mono that is a
   * Callable has, and has nobody discard it if it was cancelled meanwhile.
   */
  private Mono<PageBatch> next() {
    return Mono.defer(
        () -> {
          PageBatch batch = staged.poll();
          if (batch != null) {
            return Mono.just(batch);
          }
          Lease free = pool.tryAcquire();
          Mono<Lease> slab = free != null ? Mono.just(free) : pool.acquireOn(scanThread);
          return slab.map(copier::copyTo);
        });
  }

  /** Gives back what was staged and not sent. When nobody takes batches any more. */
  void release() {
    for (PageBatch batch; (batch = staged.poll()) != null; ) {
      batch.release();
    }
  }
}
