package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceDecision.Abort;
import io.pageflux.convergence.ConvergenceDecision.SwitchOver;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import java.util.Optional;

/**
 * A fixed limit: switches over when the expected downtime is within it, and does what it was told
 * when the rounds or the time are used up. The other policies begin with this one.
 */
public final class LimitPolicy implements ConvergencePolicy {

  private final ConvergenceLimits limits;

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
      return Optional.of(atLimit("%d rounds have been sent".formatted(figures.rounds()), figures));
    }
    if (figures.elapsed().compareTo(limits.timeout()) >= 0) {
      return Optional.of(atLimit(MigrationText.of(limits.timeout()) + " are over", figures));
    }
    return Optional.empty();
  }

  private ConvergenceDecision atLimit(String limit, ConvergenceFigures figures) {
    String reason =
        "%s and the expected downtime is still %s, above the limit of %s"
            .formatted(
                limit,
                MigrationText.of(figures.downtime().expected()),
                MigrationText.of(figures.downtime().limit()));
    return limits.atLimit() == AtLimit.ABORT ? new Abort(reason) : new SwitchOver(reason);
  }
}
