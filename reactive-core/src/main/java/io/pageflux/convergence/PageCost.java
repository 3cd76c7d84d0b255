package io.pageflux.convergence;

/**
 * What a page with contents became on the wire lately. Zero pages do not count: they cost next to
 * nothing, abound in the first round, and are rare among those that a guest rewrites.
 *
 * <p>The first round says little of the others, for there is nothing that a delta could be taken
 * to: what it has taught is forgotten as soon as another round has taught something. Of the others
 * each lesson counts as much as all before it.
 */
final class PageCost {

  /** Pages of a lesson, at the least. */
  private static final long LESSON_PAGES = 64;

  private double bytesPerPage;
  private boolean learned;
  private boolean provisional;
  private long pages;
  private long bytes;

  PageCost(double bytesPerPage) {
    this.bytesPerPage = bytesPerPage;
  }

  /** Learns what pages became. */
  void add(long morePages, long moreBytes, boolean firstRound) {
    if (!firstRound && provisional) {
      // What is left of the first round is not to spoil the second.
      provisional = false;
      learned = false;
      pages = 0;
      bytes = 0;
    }
    pages += morePages;
    bytes += moreBytes;
    if (pages < LESSON_PAGES) {
      return;
    }
    double lesson = (double) bytes / pages;
    if (firstRound) {
      // One lesson, which grows.
      provisional = true;
      bytesPerPage = lesson;
    } else {
      bytesPerPage = learned ? (bytesPerPage + lesson) / 2 : lesson;
      learned = true;
      pages = 0;
      bytes = 0;
    }
  }

  double bytesPerPage() {
    return bytesPerPage;
  }
}
