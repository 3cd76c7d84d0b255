package io.pageflux.convergence;

import java.time.Duration;
import java.util.Objects;

/**
 * What a policy wants to be done. Sealed, and may grow: a {@code switch} over decisions outside
 * this library should have a {@code default}.
 */
public sealed interface ConvergenceDecision {

  /** {@return why, for people; a part of a sentence} */
  String reason();

  /** Go on as before. */
  record Wait(String reason) implements ConvergenceDecision {
    /** Requires a reason. */
    public Wait {
      Objects.requireNonNull(reason, "reason");
    }
  }

  /**
   * Take another limit of the downtime. The policy is asked again at once, for the limit may be met
   * now.
   */
  record SetDowntimeLimit(Duration limit, String reason) implements ConvergenceDecision {
    /**
     * Checks the limit.
     *
     * @throws IllegalArgumentException if it is negative
     */
    public SetDowntimeLimit {
      Objects.requireNonNull(reason, "reason");
      if (limit.isNegative()) {
        throw new IllegalArgumentException("downtimeLimit >= 0 required but it was " + limit);
      }
    }
  }

  /**
   * Take so much of its time from the guest.
   *
   * @param percent 0 (none) to 99
   */
  record Throttle(int percent, String reason) implements ConvergenceDecision {
    /** The most that can be taken, as in QEMU: a guest without any time would be a paused one. */
    public static final int MAX_PERCENT = 99;

    /**
     * Checks the percentage.
     *
     * @throws IllegalArgumentException if it is out of range
     */
    public Throttle {
      Objects.requireNonNull(reason, "reason");
      if (percent < 0 || percent > MAX_PERCENT) {
        throw new IllegalArgumentException(
            "a throttle of 0 to 99 percent required but it was " + percent);
      }
    }
  }

  /**
   * Pause the guest and send the rest. While a round is under way this is a {@link Wait}: the
   * policy is asked again at its end.
   */
  record SwitchOver(String reason) implements ConvergenceDecision {
    /** Requires a reason. */
    public SwitchOver {
      Objects.requireNonNull(reason, "reason");
    }
  }

  /**
   * Switch to post-copy, at once, also within a round: the guest is paused, and goes on at the
   * destination before all pages are there. Where it is not possible this is a {@link Wait}, and
   * the steps say so once.
   */
  record StartPostcopy(String reason) implements ConvergenceDecision {
    /** Requires a reason. */
    public StartPostcopy {
      Objects.requireNonNull(reason, "reason");
    }
  }

  /** Give up, at once. The guest goes on at the source. */
  record Abort(String reason) implements ConvergenceDecision {
    /** Requires a reason. */
    public Abort {
      Objects.requireNonNull(reason, "reason");
    }
  }
}
