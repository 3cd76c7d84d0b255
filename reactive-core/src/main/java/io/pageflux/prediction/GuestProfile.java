package io.pageflux.prediction;

import java.util.List;

/**
 * A guest as a migration would find it. Immutable, for any thread.
 *
 * @param totalPages its pages
 * @param pageSizeBytes their size
 * @param tracker what its writes were seen with
 * @param first what all of its pages become, sent whole; its {@code seconds} are 0
 * @param firstError of that, the standard error of the bytes, as a part of them
 * @param later what dirty pages become, by growing time; empty if none was seen
 * @param codecs what reading and encoding its pages takes
 * @param collectSeconds how long it takes to collect the dirty pages
 * @param cachePages how many pages the cache for deltas holds; 0 without deltas
 * @param dirtying how fast the guest dirties pages
 */
public record GuestProfile(
    long totalPages,
    int pageSizeBytes,
    String tracker,
    PageLesson first,
    double firstError,
    List<PageLesson> later,
    CodecTimes codecs,
    double collectSeconds,
    long cachePages,
    DirtyCurve dirtying) {

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one makes no sense
   */
  public GuestProfile {
    later = List.copyOf(later);
    if (totalPages < 1 || pageSizeBytes < 1 || cachePages < 0) {
      throw new IllegalArgumentException(
          "pages and their size above 0 required but they were %d and %d"
              .formatted(totalPages, pageSizeBytes));
    }
    if (!(collectSeconds >= 0) || !(dirtying.lengthSeconds() > 0)) {
      throw new IllegalArgumentException(
          "times above 0 required but they were %s s to collect, %s s watched"
              .formatted(collectSeconds, dirtying.lengthSeconds()));
    }
  }

  /** {@return what pages become that were dirtied within some time} */
  PageLesson later(double seconds) {
    if (later.isEmpty()) {
      return first;
    }
    PageLesson before = later.getFirst();
    for (PageLesson lesson : later) {
      if (seconds <= lesson.seconds()) {
        double gap = lesson.seconds() - before.seconds();
        return gap <= 0
            ? before
            : before.mix(lesson, Math.max(0, (seconds - before.seconds()) / gap));
      }
      before = lesson;
    }
    return before;
  }
}
