package io.pageflux.convergence;

import java.time.Duration;
import java.util.Objects;

/**
 * What a migration may take, unless its policy says otherwise.
 *
 * @param downtimeLimit the guest is paused when the expected downtime is within this; what the
 *     limit is at first, for policies that change it
 * @param maxRounds how many rounds are sent while the guest runs before {@code atLimit} decides
 * @param timeout how long rounds are sent while the guest runs before {@code atLimit} decides
 * @param atLimit what happens then
 */
public record ConvergenceLimits(
    Duration downtimeLimit, int maxRounds, Duration timeout, AtLimit atLimit) {

  /** What is done with a guest that cannot be paused within the downtime limit in the end. */
  public enum AtLimit {
    /** Pause it all the same; the downtime will be longer than was asked for. */
    SWITCH_OVER,
    /** Give up; the guest goes on at the source. */
    ABORT
  }

  /** 300 ms of downtime, which is QEMU's default; 100 rounds; an hour; then switch over. */
  public static final ConvergenceLimits DEFAULT =
      new ConvergenceLimits(Duration.ofMillis(300), 100, Duration.ofHours(1), AtLimit.SWITCH_OVER);

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public ConvergenceLimits {
    Objects.requireNonNull(atLimit, "atLimit");
    if (downtimeLimit.isNegative()) {
      throw new IllegalArgumentException("downtimeLimit >= 0 required but it was " + downtimeLimit);
    }
    if (maxRounds < 1) {
      throw new IllegalArgumentException("maxRounds > 0 required but it was " + maxRounds);
    }
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("timeout > 0 required but it was " + timeout);
    }
  }

  /** {@return these with another limit of the downtime} */
  public ConvergenceLimits withDowntimeLimit(Duration limit) {
    return new ConvergenceLimits(limit, maxRounds, timeout, atLimit);
  }

  /** {@return these with another number of rounds} */
  public ConvergenceLimits withMaxRounds(int rounds) {
    return new ConvergenceLimits(downtimeLimit, rounds, timeout, atLimit);
  }

  /** {@return these with another time} */
  public ConvergenceLimits withTimeout(Duration time) {
    return new ConvergenceLimits(downtimeLimit, maxRounds, time, atLimit);
  }

  /** {@return these with another end} */
  public ConvergenceLimits withAtLimit(AtLimit end) {
    return new ConvergenceLimits(downtimeLimit, maxRounds, timeout, end);
  }
}
