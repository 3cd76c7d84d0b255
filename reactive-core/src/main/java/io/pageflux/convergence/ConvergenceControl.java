package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceDecision.Abort;
import io.pageflux.convergence.ConvergenceDecision.SetDowntimeLimit;
import io.pageflux.convergence.ConvergenceDecision.StartPostcopy;
import io.pageflux.convergence.ConvergenceDecision.SwitchOver;
import io.pageflux.convergence.ConvergenceDecision.Throttle;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergenceStep.Kind;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Asks a policy, and makes of its decisions what there is to do.
 *
 * <p>A policy that throws whatever it may be, or returns null, is not asked again, and one whose
 * maker does is not asked at all. From then on the downtime limit stays as it is, the guest is
 * paused as soon as it is met, and when the limits' rounds or time are used up the migration is
 * aborted, whatever they say: a guest is never paused for longer than was asked for because a
 * policy is broken.
 *
 * <p>Not thread-safe.
 */
public final class ConvergenceControl {

  /** How often a policy may change the limit before the migration goes on. */
  private static final int MOST_QUESTIONS = 8;

  private final ConvergencePolicy.Maker maker;
  private ConvergenceLimits limits;
  private ConvergencePolicy policy;
  private boolean failed;
  private @Nullable Throwable failedAtFirst;
  private boolean postcopyPossible;
  private boolean postcopyRefused;
  private Duration downtimeLimit;

  /** Makes a control of one migration. */
  public ConvergenceControl(ConvergencePolicy.Maker maker, ConvergenceLimits limits) {
    this.maker = maker;
    this.limits = limits;
    this.downtimeLimit = limits.downtimeLimit();
    ConvergencePolicy made;
    try {
      made = made();
    } catch (Throwable e) {
      failedAtFirst = e; // There is no step yet that could tell of it.
      made = fallback();
    }
    this.policy = made;
  }

  private ConvergencePolicy made() {
    ConvergencePolicy made = maker.make(limits);
    if (isThere(made)) {
      return made;
    }
    throw new IllegalStateException("it is none (null)");
  }

  private ConvergencePolicy fallback() {
    return new LimitPolicy(limits.withAtLimit(AtLimit.ABORT));
  }

  /** What the source does next with its rounds. */
  public enum Action {
    /** It goes on. */
    GO_ON,
    /** It pauses the guest. */
    SWITCH_OVER,
    /** It leaves the round and switches to post-copy. */
    START_POSTCOPY,
    /** It gives up. */
    ABORT
  }

  /**
   * What there is to do.
   *
   * @param action the rounds
   * @param reason why, if it is not to go on
   * @param throttlePercent what the guest is to be throttled to now; -1 to leave it as it is
   * @param steps what was decided, in order
   */
  public record Outcome(
      Action action, String reason, int throttlePercent, List<ConvergenceStep> steps) {}

  /** {@return what the downtime may be now} */
  public Duration downtimeLimit() {
    return downtimeLimit;
  }

  /**
   * Has another downtime limit hold, as if it had been given at the start: the policy begins anew
   * with it, unless it had failed. Does nothing if it is the one that was given last.
   *
   * @param limit what the downtime may be
   * @param at when, since the first round began
   * @return what was done
   */
  public List<ConvergenceStep> give(Duration limit, Duration at) {
    if (limit.equals(limits.downtimeLimit())) {
      return List.of();
    }
    List<ConvergenceStep> steps = new ArrayList<>();
    steps.add(changed(limit, at, "it was set"));
    limits = limits.withDowntimeLimit(limit);
    tellOfFirst(at, steps);
    if (!failed) {
      try {
        policy = made();
      } catch (Throwable e) {
        steps.add(fail(at, e));
      }
    }
    return List.copyOf(steps);
  }

  /** Has other settings hold, if it is auto-converge that decides; it does not begin anew. */
  public void use(AutoConverge.Settings settings) {
    if (policy instanceof AutoConverge rule) {
      rule.use(settings);
    }
  }

  private ConvergenceStep changed(Duration limit, Duration at, String why) {
    String what =
        "downtime limit of %s instead of %s"
            .formatted(MigrationText.of(limit), MigrationText.of(downtimeLimit));
    downtimeLimit = limit;
    return new ConvergenceStep(at, Kind.DOWNTIME_LIMIT, what, why);
  }

  /**
   * Asks the policy.
   *
   * @param current the figures; the limit in them is replaced by {@link #downtimeLimit()}
   */
  public Outcome decide(ConvergenceFigures current) {
    List<ConvergenceStep> steps = new ArrayList<>();
    tellOfFirst(current.elapsed(), steps);
    for (int i = 0; i < MOST_QUESTIONS; i++) {
      ConvergenceFigures figures = current.withDowntimeLimit(downtimeLimit);
      Duration at = figures.elapsed();
      ConvergenceDecision decision = ask(figures, steps);
      switch (decision) {
        case SetDowntimeLimit(Duration limit, String why) -> {
          if (limit.equals(downtimeLimit)) {
            return goOn(-1, steps);
          }
          steps.add(changed(limit, at, why));
        }
        case Throttle(int percent, String why) -> {
          if (percent == figures.throttle().percent() || !figures.throttle().possible()) {
            return goOn(-1, steps);
          }
          steps.add(
              new ConvergenceStep(at, Kind.THROTTLE, "guest throttled by " + percent + " %", why));
          return goOn(percent, steps);
        }
        case SwitchOver(String why) -> {
          if (!figures.roundEnded()) {
            return goOn(-1, steps);
          }
          steps.add(new ConvergenceStep(at, Kind.SWITCH_OVER, "switch-over", why));
          return new Outcome(Action.SWITCH_OVER, why, -1, List.copyOf(steps));
        }
        case StartPostcopy(String why) -> {
          if (!postcopyPossible) {
            refusePostcopy(at, why, steps);
            return goOn(-1, steps);
          }
          steps.add(new ConvergenceStep(at, Kind.START_POSTCOPY, "post-copy", why));
          return new Outcome(Action.START_POSTCOPY, why, -1, List.copyOf(steps));
        }
        case Abort(String why) -> {
          steps.add(new ConvergenceStep(at, Kind.ABORT, "migration given up", why));
          return new Outcome(Action.ABORT, why, -1, List.copyOf(steps));
        }
        case Wait w -> {
          return goOn(-1, steps);
        }
      }
    }
    return goOn(-1, steps);
  }

  /** Says that post-copy may be decided on. Without that it is not possible. */
  public void allowPostcopy() {
    postcopyPossible = true;
  }

  private void refusePostcopy(Duration at, String why, List<ConvergenceStep> steps) {
    if (!postcopyRefused) {
      postcopyRefused = true;
      steps.add(
          new ConvergenceStep(
              at,
              Kind.POSTCOPY_REFUSED,
              "no post-copy, for it was not agreed on with the destination",
              why));
    }
  }

  private static Outcome goOn(int throttlePercent, List<ConvergenceStep> steps) {
    return new Outcome(Action.GO_ON, "", throttlePercent, List.copyOf(steps));
  }

  private ConvergenceDecision ask(ConvergenceFigures figures, List<ConvergenceStep> steps) {
    try {
      ConvergenceDecision decision = policy.decide(figures);
      if (isThere(decision)) {
        return decision;
      }
      throw new IllegalStateException("it has decided nothing (null)");
    } catch (Throwable e) {
      steps.add(fail(figures.elapsed(), e));
      return policy.decide(figures);
    }
  }

  private void tellOfFirst(Duration at, List<ConvergenceStep> steps) {
    Throwable e = failedAtFirst;
    if (e != null) {
      failedAtFirst = null;
      steps.add(fail(at, e));
    }
  }

  private ConvergenceStep fail(Duration at, Throwable e) {
    failed = true;
    policy = fallback();
    return new ConvergenceStep(
        at,
        Kind.POLICY_FAILED,
        "the policy is not asked any more; the downtime limit stays at "
            + MigrationText.of(downtimeLimit),
        "it failed: " + MigrationText.of(e));
  }

  /** Who wrote the policy may not know of null-marked code. */
  private static boolean isThere(@Nullable Object made) {
    return made != null;
  }
}
