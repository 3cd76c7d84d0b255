package io.pageflux.operator;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * Copies dirty pages out of guest memory, a batch at a time: the source of every pipeline.
 *
 * <p>Each page is copied exactly once; zero test, delta, compression and checksum all see that
 * copy, because the guest may be writing. The copy is what the tracker is told of.
 *
 * <p>A batch is the least that is done at once; where nothing has to be waited for, others get the
 * thread when a slice of {@link #SLICE} is over, as QEMU's iteration ends after its {@code
 * MAX_WAIT}.
 */
public final class PageScanner {

  /** After this time, with what is done to the batches on the same thread, it is others' turn. */
  public static final Duration SLICE = Duration.ofMillis(50);

  private final GuestMemory memory;
  private final DirtyTracker tracker;
  private final SlabPool pool;
  private final Scheduler scheduler;

  /**
   * Makes a scanner.
   *
   * @param memory what is scanned
   * @param tracker is told of each copy
   * @param pool where batches get their slabs
   * @param scheduler where the copying is done, of one thread; not disposed
   */
  public PageScanner(GuestMemory memory, DirtyTracker tracker, SlabPool pool, Scheduler scheduler) {
    this.memory = memory;
    this.tracker = tracker;
    this.pool = pool;
    this.scheduler = scheduler;
  }

  /**
   * Reads a set of pages, block by block, in ascending order. The set must not change until the
   * flux ends; it may be read again by another subscriber.
   *
   * <p><b>Demand:</b> one batch for each requested, as soon as the pool has a slab for it.
   *
   * <p><b>Memory bound:</b> one slab for each batch that is not released; the pool's size at the
   * most.
   *
   * <p><b>Ordering and threading:</b> ascending, on the scanner's scheduler, in slices: what else
   * is to run there does so between two batches.
   *
   * <p><b>Discard and cancel:</b> after a cancel nothing is read; a slab that was on its way is
   * released.
   *
   * <p><b>Errors:</b> {@code IllegalStateException} when the memory or the pool has been closed.
   *
   * @param pages what to read
   * @return batches with raw pages only
   */
  public Flux<PageBatch> round(MemoryPages pages) {
    return round(pages, () -> false);
  }

  /**
   * Reads a set of pages as {@link #round(MemoryPages)}, unless it is to be left where it is.
   *
   * @param leave asked before each batch; the flux completes when it says true
   */
  public Flux<PageBatch> round(MemoryPages pages, BooleanSupplier leave) {
    return Flux.<Cursor, Cursor>generate(
            () -> new Cursor(pages),
            (cursor, sink) -> {
              if (cursor.copier.isComplete() || leave.getAsBoolean()) {
                sink.complete();
              } else {
                sink.next(cursor);
              }
              return cursor;
            })
        .concatMap(cursor -> slab(cursor).map(cursor.copier::copyTo), 0)
        .subscribeOn(scheduler)
        .doOnDiscard(Lease.class, Lease::release)
        .doOnDiscard(PageBatch.class, PageBatch::release);
  }

  private Mono<Lease> slab(Cursor cursor) {
    return cursor.sliceIsOver()
        ? slab().doOnSubscribe(s -> cursor.beginSlice()).subscribeOn(scheduler)
        : slab();
  }

  private Mono<Lease> slab() {
    return Mono.defer(
        () -> {
          Lease free = pool.tryAcquire();
          // Who gives a slab back is not to do the copying: it may be an event loop.
          return free != null ? Mono.just(free) : pool.acquireOn(scheduler);
        });
  }

  /** Where the reading is, and since when. Used serially. */
  private final class Cursor {

    private final PageCopier copier;
    private long sliceBeganNanos;

    Cursor(MemoryPages pages) {
      beginSlice();
      this.copier = new PageCopier(memory, pages, tracker, pool);
    }

    void beginSlice() {
      sliceBeganNanos = scheduler.now(TimeUnit.NANOSECONDS);
    }

    boolean sliceIsOver() {
      return scheduler.now(TimeUnit.NANOSECONDS) - sliceBeganNanos >= SLICE.toNanos();
    }
  }
}
