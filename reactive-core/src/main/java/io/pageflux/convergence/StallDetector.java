package io.pageflux.convergence;

import io.pageflux.convergence.ConvergenceFigures.Stall;
import java.time.Duration;

/**
 * Says how long a migration has made no progress. What counts is the least that ever remained: a
 * remainder that goes down after it went up, and does not reach that, is no progress, so a guest
 * whose writing comes and goes does not start the count anew each time.
 */
final class StallDetector {

  /** How much less than ever before is progress, so that noise is none. */
  private static final double PROGRESS = 0.98;

  /** How much above the least of the last rounds is still about as good. */
  private static final double ABOUT = 1.1;

  /** How many rounds a minimum is remembered: what a guest did long ago, it may never do again. */
  static final int WINDOW = 8;

  private final long[] window = new long[WINDOW];
  private int rounds;
  private long least = Long.MAX_VALUE;
  private int leastRound;
  private long leastNanos;

  /** Learns what remains at the end of a round. */
  void roundEnded(long remainingBytes, long nowNanos) {
    window[rounds % WINDOW] = remainingBytes;
    rounds++;
    if (rounds == 1 || remainingBytes < least * PROGRESS) {
      least = remainingBytes;
      leastRound = rounds;
      leastNanos = nowNanos;
    }
  }

  Stall stall(long nowNanos) {
    if (rounds == 0) {
      return Stall.NONE;
    }
    long lately = Long.MAX_VALUE;
    for (int i = 0; i < Math.min(rounds, WINDOW); i++) {
      lately = Math.min(lately, window[i]);
    }
    return new Stall(
        least,
        rounds - leastRound,
        Duration.ofNanos(nowNanos - leastNanos),
        window[(rounds - 1) % WINDOW] <= lately * ABOUT);
  }
}
