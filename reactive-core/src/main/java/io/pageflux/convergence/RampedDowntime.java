package io.pageflux.convergence;

import io.pageflux.convergence.ConvergenceDecision.SetDowntimeLimit;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import java.time.Duration;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * Raises the limit of the downtime in equal steps until it is met, and not above a greatest one.
 *
 * <p>The rule and its figures are those of KubeVirt's enhancement proposal 291: 150 ms from the
 * beginning; 10 s after the end of the third round, and each 10 s from then on, one step up, over 7
 * levels to 1050 ms. There a migration took 18 % less time and 59 % fewer rounds than with 300 ms,
 * for a downtime that was longer by 160 ms.
 *
 * <p>A ramp alone is enough for a guest that rewrites the same pages over and over, if these can be
 * sent in about the greatest limit: then a round leaves no more than them, however fast the guest
 * writes. One that writes faster than the link carries, all over more memory than that, is given up
 * or switched over at the limits.
 */
public final class RampedDowntime implements ConvergencePolicy {

  /**
   * How the limit is raised.
   *
   * @param initial what it is at first
   * @param greatest what it is at last
   * @param levels how many values it takes, the first and the last included
   * @param fromRound the round at whose end the first cooldown begins
   * @param cooldown the least time before each step, in which what holds may prove enough
   */
  public record Ramp(
      Duration initial, Duration greatest, int levels, int fromRound, Duration cooldown) {

    /** The figures of the proposal. */
    public static final Ramp DEFAULT =
        new Ramp(Duration.ofMillis(150), Duration.ofMillis(1050), 7, 3, Duration.ofSeconds(10));

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range
     */
    public Ramp {
      if (initial.isNegative() || greatest.compareTo(initial) < 0) {
        throw new IllegalArgumentException(
            "a ramp from 0 or more upwards required but it was %s to %s"
                .formatted(initial, greatest));
      }
      if (levels < 2 || fromRound < 1 || cooldown.isNegative()) {
        throw new IllegalArgumentException(
            "2 levels, a round from 1 and a cooldown that is not negative required but they were"
                + " %d, %d and %s".formatted(levels, fromRound, cooldown));
      }
    }

    /** {@return a level, from 0} */
    Duration level(int number) {
      int n = Math.min(number, levels - 1);
      return initial.plus(greatest.minus(initial).multipliedBy(n).dividedBy(levels - 1));
    }

    /** {@return this ramp with its limits relative to another limit than 300 ms} */
    static Ramp around(Duration limit, int fromRound, Duration cooldown) {
      return new Ramp(
          limit.dividedBy(2), limit.multipliedBy(7).dividedBy(2), 7, fromRound, cooldown);
    }
  }

  private final LimitPolicy limits;
  private final Ramp ramp;
  private int level = -1;
  // The beginning of the cooldown; null before the first one.
  private @Nullable Duration coolingSince;

  /** Makes a policy with the figures of the proposal, and the limits' rounds and time. */
  public RampedDowntime(ConvergenceLimits limits) {
    this(limits, Ramp.DEFAULT);
  }

  /** Makes a policy with a ramp of its own, and the limits' rounds and time. */
  public RampedDowntime(ConvergenceLimits limits, Ramp ramp) {
    this.limits = new LimitPolicy(limits);
    this.ramp = ramp;
  }

  @Override
  public ConvergenceDecision decide(ConvergenceFigures figures) {
    if (level < 0) {
      level = 0;
      return new SetDowntimeLimit(ramp.level(0), "the limit is raised only if it has to be");
    }
    Optional<ConvergenceDecision> due = limits.due(figures);
    return due.isPresent() ? due.get() : step(figures).orElseGet(() -> new Wait("it goes on"));
  }

  /** {@return the next step up, if it is time for it} */
  Optional<ConvergenceDecision> step(ConvergenceFigures figures) {
    if (!figures.roundEnded() || figures.rounds() < ramp.fromRound() || atTop()) {
      return Optional.empty();
    }
    Duration since = coolingSince;
    if (since != null && figures.elapsed().minus(since).compareTo(ramp.cooldown()) < 0) {
      return Optional.empty();
    }
    coolingSince = figures.elapsed();
    if (since == null) {
      return Optional.empty();
    }
    level++;
    return Optional.of(
        new SetDowntimeLimit(
            ramp.level(level),
            "after %d rounds the expected downtime is %s"
                .formatted(figures.rounds(), figures.downtime().expectedText())));
  }

  /** {@return whether the limit is not raised any more} */
  boolean atTop() {
    return level >= ramp.levels() - 1;
  }
}
