package io.pageflux.migration;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlockLayout;
import java.util.List;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * One collection of dirty pages, in slices between which others get the thread.
 *
 * <p>Each slice adds to what is dirty <em>then</em>: if a round begins between two slices, the
 * pages that the later ones find belong to the round after it.
 */
final class CollectionInSlices {

  /**
   * What was found.
   *
   * @param pages pages that were not dirty before
   * @param bytes their size
   */
  record Found(long pages, long bytes) {}

  private final DirtyTracker tracker;
  private final DirtyLedger ledger;
  private final List<RamBlockLayout> blocks;
  private final long sliceBytes;
  private int block;
  private long page;
  private long foundPages;
  private long foundBytes;

  private CollectionInSlices(DirtyTracker tracker, DirtyLedger ledger) {
    this.tracker = tracker;
    this.ledger = ledger;
    this.blocks = ledger.dirty().layout().blocks();
    this.sliceBytes = tracker.sliceBytes();
  }

  /**
   * Collects. The first slice, which most of the time is the only one, on the thread that
   * subscribes.
   *
   * @param thread the thread that subscribes
   */
  static Mono<Found> of(DirtyTracker tracker, DirtyLedger ledger, Scheduler thread) {
    return Mono.defer(
        () -> {
          CollectionInSlices slices = new CollectionInSlices(tracker, ledger);
          slices.next();
          return slices.isOver()
              ? Mono.just(slices.found())
              : Mono.<Void>fromRunnable(slices::next)
                  .subscribeOn(thread)
                  .repeat(() -> !slices.isOver())
                  .then(Mono.fromSupplier(slices::found));
        });
  }

  private boolean isOver() {
    return block == blocks.size();
  }

  private Found found() {
    return new Found(foundPages, foundBytes);
  }

  private void next() {
    MemoryPages dirty = ledger.dirty();
    if (sliceBytes == Long.MAX_VALUE) {
      long before = dirty.bytes();
      foundPages = tracker.collect(dirty);
      foundBytes = dirty.bytes() - before;
      block = blocks.size();
      return;
    }
    for (long left = sliceBytes; left > 0 && !isOver(); ) {
      RamBlockLayout shape = blocks.get(block);
      int pageBytes = shape.pageSizeBytes();
      long to = Math.min(shape.pageCount(), page + Math.max(1, left / pageBytes));
      long found = tracker.collect(dirty, block, page, to);
      foundPages += found;
      foundBytes += found * pageBytes;
      left -= (to - page) * pageBytes;
      page = to;
      if (to == shape.pageCount()) {
        block++;
        page = 0;
      }
    }
  }
}
