package io.pageflux.convergence;

import org.jspecify.annotations.Nullable;

/**
 * What pages became on the wire lately: what one with contents needs, and how many of them have
 * any. Zero pages are taken apart, for they cost next to nothing, abound in the first round, and
 * are rare among those that a guest rewrites.
 *
 * <p>The first round says little of the others, for there is nothing that a delta could be taken
 * to: what it has taught of pages with contents is forgotten as soon as another round has taught
 * something, and how many there are among all pages is not taken for how many there are among dirty
 * ones. Of the other rounds each lesson counts as much as all before it.
 *
 * <p>All that holds only while nobody has tried out what the dirty pages are now. Pages that were
 * sent shortly before are far less than others, and the last round has more of them than any.
 */
final class PageCost {

  /** Pages of a lesson, at the least. */
  private static final long LESSON_PAGES = 64;

  /**
   * What was counted of some pages.
   *
   * @param pages how many were read
   * @param contents how many of these were not zero
   * @param bytes what was sent of them
   */
  record Lesson(long pages, long contents, long bytes) {
    static final Lesson NONE = new Lesson(0, 0, 0);

    Lesson plus(Lesson more) {
      return new Lesson(pages + more.pages, contents + more.contents, bytes + more.bytes);
    }
  }

  private double bytesPerPage;
  private boolean learned;
  private boolean provisional;
  private long contents;
  private long bytes;

  private double firstShare = 1;
  private Lesson firstRound = Lesson.NONE;
  private double share = 1;
  private boolean shareLearned;
  private long sharePages;
  private long shareContents;
  private ConvergenceMeter.@Nullable Sample sample;

  PageCost(double bytesPerPage) {
    this.bytesPerPage = bytesPerPage;
  }

  /** Learns what the dirty pages are now; or that nobody knows: a few say little of the others. */
  void tried(ConvergenceMeter.@Nullable Sample now) {
    sample = now == null || now.pages() < LESSON_PAGES ? null : now;
  }

  /** Learns what pages became. */
  void add(Lesson lesson, boolean first) {
    learnBytes(lesson, first);
    if (first) {
      firstRound = firstRound.plus(lesson);
      if (firstRound.pages >= LESSON_PAGES) {
        firstShare = part(firstRound.contents, firstRound.pages);
      }
      return;
    }
    sharePages += lesson.pages;
    shareContents += lesson.contents;
    if (sharePages >= LESSON_PAGES) {
      double now = part(shareContents, sharePages);
      share = shareLearned ? (share + now) / 2 : now;
      shareLearned = true;
      sharePages = 0;
      shareContents = 0;
    }
  }

  private static double part(long contents, long pages) {
    return Math.min(1, (double) contents / pages);
  }

  private void learnBytes(Lesson lesson, boolean first) {
    if (!first && provisional) {
      // What is left of the first round is not to spoil the second.
      provisional = false;
      learned = false;
      contents = 0;
      bytes = 0;
    }
    contents += lesson.contents;
    bytes += lesson.bytes;
    if (contents < LESSON_PAGES) {
      return;
    }
    double now = (double) bytes / contents;
    if (first) {
      // One lesson, which grows.
      provisional = true;
      bytesPerPage = now;
    } else {
      bytesPerPage = learned ? (bytesPerPage + now) / 2 : now;
      learned = true;
      contents = 0;
      bytes = 0;
    }
  }

  /** {@return what a page with contents needs} */
  double bytesPerPage() {
    ConvergenceMeter.Sample now = sample;
    return now == null || now.contents() == 0
        ? bytesPerPage
        : (double) now.bytes() / now.contents();
  }

  /** {@return how many of so many dirty pages have contents} */
  double contents(long dirty) {
    ConvergenceMeter.Sample now = sample;
    return dirty * (now == null ? share : part(now.contents(), now.pages()));
  }

  /** {@return how many of so many pages have contents that the first round has yet to send} */
  double firstRoundContents(long pages) {
    return pages * firstShare;
  }
}
