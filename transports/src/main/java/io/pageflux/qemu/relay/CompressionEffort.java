package io.pageflux.qemu.relay;

import java.util.OptionalLong;

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

  /** Nor has it while the destination takes no more, which is not the link's doing. */
  static final double LINK_BUSY = 0.9;

  private final int least;
  private int step;
  private long steppedNanos;
  private long steppedBusyNanos;
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
   * @param busyNanos for how long the link was busy so far, if that is known
   */
  synchronized int level(double heldBackShare, OptionalLong busyNanos, long nowNanos) {
    long nanos = nowNanos - steppedNanos;
    if (!begun) {
      begun = true;
      begin(busyNanos, nowNanos);
    } else if (nanos >= STEP_NANOS) {
      // Where nobody says how busy the link was, it is taken to have been.
      double busy =
          busyNanos.isEmpty() ? 1 : (double) (busyNanos.getAsLong() - steppedBusyNanos) / nanos;
      boolean linkLimits = heldBackShare > HARDER && busy > LINK_BUSY;
      boolean linkIsFree = heldBackShare < LESS_HARD || busy < LESS_HARD;
      step = Math.clamp(step + (linkLimits ? 1 : linkIsFree ? -1 : 0), 0, LEVELS.length - 1);
      begin(busyNanos, nowNanos);
    }
    return Math.max(least, LEVELS[step]);
  }

  private void begin(OptionalLong busyNanos, long nowNanos) {
    steppedNanos = nowNanos;
    steppedBusyNanos = busyNanos.orElse(0);
  }
}
