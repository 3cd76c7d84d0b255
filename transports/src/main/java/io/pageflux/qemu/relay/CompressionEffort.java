package io.pageflux.qemu.relay;

/**
 * How hard pages are compressed: harder step by step while it is the link that limits the
 * migration, for the processors have time then, and less hard as soon as it is not.
 *
 * <p><b>Threading:</b> for any thread.
 */
final class CompressionEffort {

  /**
   * zstd's levels that are worth a step. Of a Linux guest's memory, 3 leaves 2 % less than 1, and 5
   * leaves 5 % less, at a quarter of the speed; the levels between bring nothing.
   */
  private static final int[] LEVELS = {1, 3, 5};

  /**
   * Waiting for room for so much of the time, the sender has processors to spare; for less than the
   * other, it has not. Between the two nothing is changed: near the speed that the processors
   * reach, a relay waits for half of the time, for the destination's.
   */
  static final double HARDER = 0.8;

  static final double LESS_HARD = 0.5;

  /** How long a step must have been tried before the next one. */
  private static final long STEP_NANOS = 250_000_000;

  private final int least;
  private int step;
  private long steppedNanos;
  private boolean begun;

  /**
   * @param least the lowest level
   */
  CompressionEffort(int least) {
    this.least = least;
  }

  /**
   * {@return the level for a batch}
   *
   * @param heldBackShare for which share of the time the sender has lately been waiting for room
   */
  synchronized int level(double heldBackShare, long nowNanos) {
    if (!begun) {
      begun = true;
      steppedNanos = nowNanos;
    }
    if (nowNanos - steppedNanos >= STEP_NANOS) {
      int change = heldBackShare > HARDER ? 1 : heldBackShare < LESS_HARD ? -1 : 0;
      step = Math.clamp(step + change, 0, LEVELS.length - 1);
      steppedNanos = nowNanos;
    }
    return Math.max(least, LEVELS[step]);
  }
}
