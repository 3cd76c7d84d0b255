package io.pageflux.migration;

import java.time.Duration;

/**
 * Estimates how long the guest would be paused: the dirty pages at the rate at which the
 * destination acknowledged pages lately, and what a switch-over costs however little there is to
 * send.
 *
 * <p>The rate is that of pages with contents: zero pages cost next to nothing, abound in the first
 * round, and are rare among those that the guest rewrites. Rounds count by their size, and the last
 * ones most: each round halves what the rounds before it weigh.
 *
 * <p>The fixed cost is learned: the time of the last collection of dirty pages, and three times the
 * shortest time that the destination took to answer the end of a round (last round, hand-over,
 * start).
 *
 * <p>Used by one thread at a time.
 */
final class DowntimeEstimator {

  private static final double MEMORY = 0.5;

  private double pages;
  private double nanos;
  private long answerNanos = Long.MAX_VALUE;
  private long collectNanos;

  /**
   * Learns from a round.
   *
   * @param pagesWithContents pages that were not zero, whether they had to be sent or not
   * @param roundNanos from the round's beginning to its acknowledgement
   * @param roundAnswerNanos from its end to its acknowledgement
   */
  void round(long pagesWithContents, long roundNanos, long roundAnswerNanos) {
    pages = pages * MEMORY + pagesWithContents;
    nanos = nanos * MEMORY + roundNanos;
    answerNanos = Math.min(answerNanos, roundAnswerNanos);
  }

  /** Learns how long it took to collect the dirty pages. */
  void collected(long lastCollectNanos) {
    collectNanos = lastCollectNanos;
  }

  /** {@return pages per second, or 0 if nothing is known} */
  double pagesPerSecond() {
    return nanos == 0 ? 0 : pages * 1e9 / nanos;
  }

  /** {@return the downtime if so many pages were dirty} */
  Duration estimate(long dirtyPages) {
    double perSecond = pagesPerSecond();
    double sending = dirtyPages == 0 || perSecond == 0 ? 0 : dirtyPages * 1e9 / perSecond;
    long answer = answerNanos == Long.MAX_VALUE ? 0 : answerNanos;
    return Duration.ofNanos((long) sending + collectNanos + 3 * answer);
  }
}
