package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceDecision.Abort;
import io.pageflux.convergence.ConvergenceDecision.SwitchOver;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import java.util.Optional;

/**
 * A fixed limit: switches over when the expected downtime is within it, and does what it was told
 * when the rounds or the time are used up. If that is to switch over all the same, it waits for a
 * round that leaves about as little as the best of the last ones, for 8 rounds and a tenth of the
 * time so far at the most (or 5 s, if that is more). The other policies begin with this one.
 */
public final class LimitPolicy implements ConvergencePolicy {

  private final ConvergenceLimits limits;
  private final GoodMoment moment = new GoodMoment();

  /** Makes a policy that keeps to limits; of their downtime limit, to the one in the figures. */
  public LimitPolicy(ConvergenceLimits limits) {
    this.limits = limits;
  }

  @Override
  public ConvergenceDecision decide(ConvergenceFigures figures) {
    return due(figures).orElseGet(() -> new Wait("the limit of the downtime is not met"));
  }

  /** {@return the end of the migration, if it is due} */
  Optional<ConvergenceDecision> due(ConvergenceFigures figures) {
    Optional<ConvergenceDecision> ready = figures.ready().map(ConvergenceDecision.class::cast);
    if (figures.roundEnded() && ready.isPresent()) {
      return ready;
    }
    if (figures.rounds() >= limits.maxRounds()) {
      return atLimit("%d rounds have been sent".formatted(figures.rounds()), figures);
    }
    if (figures.elapsed().compareTo(limits.timeout()) >= 0) {
      return atLimit(MigrationText.of(limits.timeout()) + " are over", figures);
    }
    return Optional.empty();
  }

  private Optional<ConvergenceDecision> atLimit(String limit, ConvergenceFigures figures) {
    String reason =
        "%s and the expected downtime is still %s, above the limit of %s"
            .formatted(
                limit,
                figures.downtime().expectedText(),
                MigrationText.of(figures.downtime().limit()));
    if (limits.atLimit() == AtLimit.ABORT) {
      return Optional.of(new Abort(reason));
    }
    return moment.isNow(figures) ? Optional.of(new SwitchOver(reason)) : Optional.empty();
  }
}
