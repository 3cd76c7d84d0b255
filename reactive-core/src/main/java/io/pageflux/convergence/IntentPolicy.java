package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceDecision.Abort;
import io.pageflux.convergence.ConvergenceDecision.SetDowntimeLimit;
import io.pageflux.convergence.ConvergenceDecision.SwitchOver;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.RampedDowntime.Ramp;
import java.time.Duration;
import java.util.Optional;

/**
 * The default: does what the {@link Intent} calls for with what the guest allows.
 *
 * <ul>
 *   <li>Short downtime: the limit holds. When two rounds have brought no progress, the guest is
 *       throttled by the rule of {@link AutoConverge}.
 *   <li>Short migration: the limit begins at half of what it was given as and goes up to three and
 *       a half times that, as in {@link RampedDowntime} but with 2 s between two steps, from the
 *       second round on. If that is not enough, the guest is throttled.
 *   <li>Finish within a time: the guest is throttled when there is no progress, and always in the
 *       second half of the time; in it the limit is raised steadily to three and a half times
 *       itself. When no other round would fit into the time, the guest is paused whatever the
 *       downtime; when only a few would, as soon as there is no progress and one leaves about as
 *       little as the best of the last ones. A time that ends within a round, because the link gave
 *       way, is a limit: the migration is aborted at once or ends with the round, as {@link
 *       ConvergenceLimits#atLimit()} says. The limits' rounds and time have no meaning here.
 * </ul>
 *
 * <p>Throttling is left out for guests that cannot be throttled. Short downtime and short migration
 * end at the limits' rounds and time.
 */
public final class IntentPolicy implements ConvergencePolicy {

  /** Rounds without progress after which something is done. */
  private static final int STALLED_ROUNDS = 2;

  private static final Duration COOLDOWN = Duration.ofSeconds(2);

  /** What is kept of a time for what comes after the last round: devices, answers. */
  private static final int PARTS_KEPT = 20;

  /**
   * How many times another round and the downtime after it have to fit in: else a good moment is
   * taken. In a good moment both look shorter than they are on average, so these are about as many
   * rounds as a minimum is remembered.
   */
  private static final int LAST_TIMES = GoodMoment.MOST_ROUNDS;

  private final Intent intent;
  private final ConvergenceLimits limits;
  private final LimitPolicy end;
  private final AutoConverge throttle;
  private final RampedDowntime ramp;
  private int rounds;
  private long remained;
  private long remainedBefore;

  private IntentPolicy(Intent intent, ConvergenceLimits limits) {
    this.intent = intent;
    this.limits = limits;
    this.end = new LimitPolicy(limits);
    this.throttle = new AutoConverge(limits);
    this.ramp = new RampedDowntime(limits, Ramp.around(limits.downtimeLimit(), 2, COOLDOWN));
  }

  /** {@return a maker of policies with an intent} */
  public static ConvergencePolicy.Maker of(Intent intent) {
    return limits -> new IntentPolicy(intent, limits);
  }

  @Override
  public ConvergenceDecision decide(ConvergenceFigures figures) {
    return switch (intent) {
      case Intent.ShortDowntime s -> shortDowntime(figures);
      case Intent.ShortMigration s -> shortMigration(figures);
      case Intent.FinishWithin within -> finish(within.time(), figures);
    };
  }

  private static boolean stalled(ConvergenceFigures figures) {
    return figures.stall().rounds() >= STALLED_ROUNDS;
  }

  private static ConvergenceDecision goOn() {
    return new Wait("it goes on");
  }

  private ConvergenceDecision shortDowntime(ConvergenceFigures figures) {
    Optional<ConvergenceDecision> due = end.due(figures);
    if (due.isPresent() || !stalled(figures)) {
      return due.orElseGet(IntentPolicy::goOn);
    }
    return throttle.step(figures).orElseGet(IntentPolicy::goOn);
  }

  private ConvergenceDecision shortMigration(ConvergenceFigures figures) {
    ConvergenceDecision ramped = ramp.decide(figures);
    return ramped instanceof Wait && ramp.atTop() && stalled(figures)
        ? throttle.step(figures).orElse(ramped)
        : ramped;
  }

  private ConvergenceDecision finish(Duration time, ConvergenceFigures figures) {
    Duration kept = time.dividedBy(PARTS_KEPT);
    if (!figures.roundEnded()) {
      return figures.elapsed().compareTo(time) >= 0 && limits.atLimit() == AtLimit.ABORT
          ? new Abort(
              "%s are over, and of round %d about %d pages are missing"
                  .formatted(
                      MigrationText.of(time), figures.rounds() + 1, figures.remainingPages()))
          : throttled(time, figures).orElseGet(IntentPolicy::goOn);
    }
    if (figures.rounds() > rounds) { // else the limit was changed, and it is the same round
      rounds = figures.rounds();
      remainedBefore = remained;
      remained = figures.remainingBytes();
    }
    Optional<SwitchOver> ready = figures.ready();
    if (ready.isPresent()) {
      return ready.get();
    }
    Duration left = time.minus(kept).minus(figures.elapsed());
    Duration another = figures.sendingTime().plus(afterAnother(figures));
    if (another.compareTo(left) > 0) {
      return new SwitchOver(
          "of %s only %s are left, another round and the downtime after it would take %s"
              .formatted(
                  MigrationText.of(time),
                  MigrationText.of(time.minus(figures.elapsed())),
                  MigrationText.of(another)));
    }
    if (another.multipliedBy(LAST_TIMES).compareTo(left) > 0
        && figures.stall().rounds() > 0
        && figures.stall().atMinimum()) {
      return new SwitchOver(
          "of %s only %s are left, and in the last rounds it was no better than now"
              .formatted(MigrationText.of(time), MigrationText.of(time.minus(figures.elapsed()))));
    }
    return raised(time, figures).or(() -> throttled(time, figures)).orElseGet(IntentPolicy::goOn);
  }

  /**
   * {@return the downtime to expect after another round} None is longer than the round before; how
   * much shorter, the last two rounds tell. After the first one, of which nothing was left out, it
   * is how much of it was dirtied meanwhile.
   */
  private Duration afterAnother(ConvergenceFigures figures) {
    ConvergenceFigures.Rates rates = figures.rates();
    double part =
        remainedBefore > 0
            ? (double) figures.remainingBytes() / remainedBefore
            : rates.dirtyPagesPerSecond() / Math.max(1, rates.pagesPerSecond());
    return Duration.ofNanos((long) (figures.sendingTime().toNanos() * Math.min(1, part)))
        .plus(figures.downtime().fixed());
  }

  private Optional<ConvergenceDecision> throttled(Duration time, ConvergenceFigures figures) {
    return stalled(figures) || inSecondHalf(time, figures)
        ? throttle.step(figures)
        : Optional.empty();
  }

  private Optional<ConvergenceDecision> raised(Duration time, ConvergenceFigures figures) {
    if (!inSecondHalf(time, figures)) {
      return Optional.empty();
    }
    double part = 2.0 * figures.elapsed().toNanos() / time.toNanos() - 1;
    double factor = 1 + 2.5 * Math.min(1, part);
    Duration limit = Duration.ofNanos((long) (limits.downtimeLimit().toNanos() * factor));
    Duration now = figures.downtime().limit();
    // Small steps would fill the report and change nothing.
    return limit.compareTo(now.plus(now.dividedBy(10))) > 0
        ? Optional.of(
            new SetDowntimeLimit(
                limit, "%.0f %% of the time are over".formatted(50 * (1 + Math.min(1, part)))))
        : Optional.empty();
  }

  private static boolean inSecondHalf(Duration time, ConvergenceFigures figures) {
    return figures.elapsed().compareTo(time.dividedBy(2)) >= 0;
  }
}
