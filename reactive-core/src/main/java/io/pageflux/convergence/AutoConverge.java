package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceDecision.Throttle;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import java.util.Optional;

/**
 * Takes time from a guest that writes faster than it can be sent, by QEMU's rule.
 *
 * <p>A period is bad when the guest dirtied more in it than half of what the destination
 * acknowledged. The second bad period is followed by a throttle of 20 %, each second one after that
 * by 10 % more, up to 99 %. A good period in between does not take a bad one back.
 *
 * <p>Unlike QEMU, which holds whole pages against bytes of the wire, both sides are taken as bytes
 * of the wire: a guest whose pages shrink to small deltas needs no throttle.
 */
public final class AutoConverge implements ConvergencePolicy {

  /**
   * The rule's constants, with QEMU's names.
   *
   * @param triggerThreshold {@code throttle-trigger-threshold}: percent of what was acknowledged
   * @param initial {@code cpu-throttle-initial}: percent
   * @param increment {@code cpu-throttle-increment}: percent
   * @param max {@code max-cpu-throttle}: percent
   * @param tailslow {@code cpu-throttle-tailslow}: take smaller steps near the end
   */
  public record Settings(
      int triggerThreshold, int initial, int increment, int max, boolean tailslow) {

    /** QEMU's defaults. */
    public static final Settings DEFAULT = new Settings(50, 20, 10, 99, false);

    /**
     * Checks the values.
     *
     * @throws IllegalArgumentException if one is out of range
     */
    public Settings {
      requirePercent("triggerThreshold", triggerThreshold, 100);
      requirePercent("initial", initial, Throttle.MAX_PERCENT);
      requirePercent("increment", increment, Throttle.MAX_PERCENT);
      requirePercent("max", max, Throttle.MAX_PERCENT);
      if (max < initial) {
        throw new IllegalArgumentException(
            "initial <= max required but they were %d and %d".formatted(initial, max));
      }
    }

    private static void requirePercent(String name, int value, int most) {
      if (value < 1 || value > most) {
        throw new IllegalArgumentException(
            "1 <= %s <= %d required but it was %d".formatted(name, most, value));
      }
    }

    /** {@return these settings with smaller steps near the end, or without} */
    public Settings withTailslow(boolean on) {
      return new Settings(triggerThreshold, initial, increment, max, on);
    }
  }

  /** The counter of QEMU's rule at which something is done. */
  private static final int BAD_PERIODS = 2;

  private final LimitPolicy limits;
  private Settings settings;
  private int lastPeriod;
  private int badPeriods;

  /** Makes policies with settings, which can be changed while a migration runs. */
  public record ByRule(Settings settings) implements Maker {
    @Override
    public ConvergencePolicy make(ConvergenceLimits limits) {
      return new AutoConverge(limits, settings);
    }
  }

  /** {@return a maker of policies with settings} */
  public static ByRule by(Settings settings) {
    return new ByRule(settings);
  }

  /** Has other settings hold from the next period on; the bad ones so far count. */
  void use(Settings other) {
    settings = other;
  }

  /** Makes a policy with QEMU's defaults. */
  public AutoConverge(ConvergenceLimits limits) {
    this(limits, Settings.DEFAULT);
  }

  /** Makes a policy. */
  public AutoConverge(ConvergenceLimits limits, Settings settings) {
    this.limits = new LimitPolicy(limits);
    this.settings = settings;
  }

  @Override
  public ConvergenceDecision decide(ConvergenceFigures figures) {
    Optional<ConvergenceDecision> step = step(figures);
    Optional<ConvergenceDecision> due = limits.due(figures);
    return due.or(() -> step).orElseGet(() -> new Wait("it goes on"));
  }

  /** Looks at a period that has ended. {@return the throttle that it is followed by, if any} */
  Optional<ConvergenceDecision> step(ConvergenceFigures figures) {
    ConvergenceFigures.Period period = figures.period();
    if (period.number() == lastPeriod) {
      return Optional.empty();
    }
    lastPeriod = period.number();
    double threshold = period.acknowledgedBytes() * settings.triggerThreshold / 100.0;
    if (period.dirtiedBytes() <= threshold || ++badPeriods < BAD_PERIODS) {
      return Optional.empty();
    }
    badPeriods = 0;
    int now = figures.throttle().percent();
    int next = next(now, threshold / period.dirtiedBytes());
    if (next <= now || !figures.throttle().possible()) {
      return Optional.empty();
    }
    return Optional.of(
        new Throttle(
            next,
            period.acknowledgedBytes() == 0
                ? "in %s nothing was acknowledged".formatted(MigrationText.of(period.length()))
                : "in %s the guest dirtied %.0f %% of what was acknowledged"
                    .formatted(
                        MigrationText.of(period.length()),
                        period.dirtiedBytes() * 100.0 / period.acknowledgedBytes())));
  }

  private int next(int now, double goal) {
    if (now == 0) {
      return Math.min(settings.initial, settings.max);
    }
    int increment = settings.increment;
    if (settings.tailslow) {
      // Of the time that the guest has, what it would have to lose to be at the threshold.
      double left = 100 - now;
      increment = (int) Math.min(increment, left - left * goal);
    }
    return Math.min(now + increment, settings.max);
  }

  /** {@return whether nothing more can be taken from the guest} */
  boolean atTop(ConvergenceFigures figures) {
    return !figures.throttle().possible() || figures.throttle().percent() >= settings.max;
  }
}
