package io.pageflux.migration;

import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamLayout;

/**
 * Which pages the destination does not have, kept like a transaction: a page that is being sent is
 * still owed until the destination has acknowledged the round that carried it.
 *
 * <p>Used by one thread at a time.
 */
final class DirtyLedger {

  private MemoryPages dirty;
  private MemoryPages inFlight;

  // Read on other threads.
  private volatile long acknowledgedPages;

  /** A ledger in which every page is dirty. */
  DirtyLedger(RamLayout layout) {
    this.dirty = new MemoryPages(layout);
    this.inFlight = new MemoryPages(layout);
    dirty.addAll();
  }

  /** The pages that are dirty and not being sent; the tracker adds to them. */
  MemoryPages dirty() {
    return dirty;
  }

  /** {@return a set of its own of the pages that are dirty and not being sent} */
  MemoryPages copyOfDirty() {
    MemoryPages copy = new MemoryPages(dirty.layout());
    copy.addAll(dirty);
    return copy;
  }

  /** Begins a round with all pages that are dirty now. {@return these; they do not change} */
  MemoryPages beginRound() {
    if (!inFlight.isEmpty()) {
      throw new IllegalStateException("the round before has not been acknowledged");
    }
    MemoryPages round = dirty;
    dirty = inFlight;
    inFlight = round;
    return round;
  }

  /** The destination has the round's pages. */
  void acknowledge() {
    acknowledgedPages += inFlight.cardinality();
    inFlight.clear();
  }

  /**
   * The destination has those of the round's pages that were read; the others are dirty again.
   *
   * @param block the block in which reading ended
   * @param end behind the last page of it that was read
   */
  void acknowledge(int block, long end) {
    long settled = inFlight.cardinality();
    for (int b = block; b < inFlight.layout().blocks().size(); b++) {
      PageSet unread = inFlight.of(b);
      long from = b == block ? end : 0;
      for (long page = unread.nextSet(from); page >= 0; page = unread.nextSet(page + 1)) {
        dirty.of(b).add(page);
        settled--;
      }
    }
    acknowledgedPages += settled;
    inFlight.clear();
  }

  /** The round failed: its pages are dirty again. */
  void rollBack() {
    dirty.addAll(inFlight);
    inFlight.clear();
  }

  /** {@return how many pages were acknowledged, each as often as it was; from any thread} */
  long acknowledgedPages() {
    return acknowledgedPages;
  }

  /** {@return the pages that the destination does not have for certain} */
  long owed() {
    return dirty.cardinality() + inFlight.cardinality();
  }
}
