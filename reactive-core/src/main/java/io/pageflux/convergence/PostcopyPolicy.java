package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceDecision.StartPostcopy;
import io.pageflux.convergence.ConvergenceDecision.Throttle;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import java.time.Duration;
import java.util.Optional;

/**
 * Another policy, until pre-copy is not worth going on with: then post-copy.
 *
 * <p>Pre-copy is given up when a number of rounds were acknowledged, when it has lasted for a time,
 * or when as many rounds as {@link #STALLED_ROUNDS} brought no progress, instead of taking time
 * from the guest. From the second round on, a round is waited for that leaves about as few pages as
 * the best of the last ones, for those are what the guest will lack; for 8 rounds and a tenth of
 * the time so far at the most (or 5 s, if that is more). A switch-over and an abort of the other
 * policy come first: a guest whose rest fits the downtime limit needs no post-copy.
 */
public final class PostcopyPolicy implements ConvergencePolicy {

  /** Rounds without progress after which pre-copy is given up. */
  public static final int STALLED_ROUNDS = 2;

  private final ConvergencePolicy first;
  private final int rounds;
  private final Duration time;
  private final GoodMoment moment = new GoodMoment();

  private PostcopyPolicy(ConvergencePolicy first, int rounds, Duration time) {
    this.first = first;
    this.rounds = rounds;
    this.time = time;
  }

  /**
   * {@return a maker of policies}
   *
   * @param first the policy of the pre-copy
   * @param rounds how many rounds pre-copy has, at least 0
   * @param time how long it may take; within a round, too
   * @throws IllegalArgumentException if one is negative
   */
  public static ConvergencePolicy.Maker after(
      ConvergencePolicy.Maker first, int rounds, Duration time) {
    if (rounds < 0 || time.isNegative()) {
      throw new IllegalArgumentException(
          "rounds >= 0 and time >= 0 required but they were %d and %s".formatted(rounds, time));
    }
    return limits -> new PostcopyPolicy(first.make(limits), rounds, time);
  }

  @Override
  public ConvergenceDecision decide(ConvergenceFigures figures) {
    ConvergenceDecision decision = first.decide(figures);
    if (!(decision instanceof Wait || decision instanceof Throttle)) {
      return decision;
    }
    return due(figures)
        .filter(why -> moment.isNow(figures))
        .<ConvergenceDecision>map(StartPostcopy::new)
        .orElse(decision);
  }

  private Optional<String> due(ConvergenceFigures figures) {
    if (figures.rounds() >= rounds && figures.roundEnded()) {
      return Optional.of("%d round(s) of pre-copy sent".formatted(figures.rounds()));
    }
    if (figures.elapsed().compareTo(time) >= 0) {
      return Optional.of(MigrationText.of(time) + " of pre-copy are over");
    }
    return figures.stall().rounds() >= STALLED_ROUNDS
        ? Optional.of("%d rounds have brought no progress".formatted(figures.stall().rounds()))
        : Optional.empty();
  }
}
