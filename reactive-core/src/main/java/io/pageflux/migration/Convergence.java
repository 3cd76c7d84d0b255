package io.pageflux.migration;

import io.pageflux.channel.MigrationText;
import io.pageflux.migration.OutgoingSpec.LimitPolicy;
import java.time.Duration;

/**
 * Decides after each round whether to send another one, to pause the guest, or to give up. Pure:
 * the decision depends on the figures alone.
 */
final class Convergence {

  /** What to do, and why. */
  record Decision(Action action, String reason) {}

  /** What to do. */
  enum Action {
    ANOTHER_ROUND,
    SWITCH_OVER,
    ABORT
  }

  /**
   * How things are after a round.
   *
   * @param rounds how many rounds have been sent
   * @param elapsed time since the first one began
   * @param expectedDowntime what the downtime would be if the guest were paused now
   * @param remainingPages pages that are dirty
   */
  record Figures(int rounds, Duration elapsed, Duration expectedDowntime, long remainingPages) {}

  private final Duration downtimeLimit;
  private final int maxRounds;
  private final Duration timeout;
  private final LimitPolicy policy;

  Convergence(OutgoingSpec spec) {
    this.downtimeLimit = spec.downtimeLimit();
    this.maxRounds = spec.maxRounds();
    this.timeout = spec.timeout();
    this.policy = spec.limitPolicy();
  }

  Decision decide(Figures figures) {
    if (figures.remainingPages() == 0) {
      return new Decision(Action.SWITCH_OVER, "no page is dirty");
    }
    if (figures.expectedDowntime().compareTo(downtimeLimit) <= 0) {
      return new Decision(
          Action.SWITCH_OVER,
          "the expected downtime of %s is within the limit of %s"
              .formatted(
                  MigrationText.of(figures.expectedDowntime()), MigrationText.of(downtimeLimit)));
    }
    if (figures.rounds() >= maxRounds) {
      return atLimit("%d rounds have been sent".formatted(figures.rounds()), figures);
    }
    if (figures.elapsed().compareTo(timeout) >= 0) {
      return atLimit("%s are over".formatted(MigrationText.of(timeout)), figures);
    }
    return new Decision(Action.ANOTHER_ROUND, "");
  }

  private Decision atLimit(String limit, Figures figures) {
    String reason =
        "%s and the expected downtime is still %s, above the limit of %s"
            .formatted(
                limit,
                MigrationText.of(figures.expectedDowntime()),
                MigrationText.of(downtimeLimit));
    return new Decision(policy == LimitPolicy.ABORT ? Action.ABORT : Action.SWITCH_OVER, reason);
  }
}
