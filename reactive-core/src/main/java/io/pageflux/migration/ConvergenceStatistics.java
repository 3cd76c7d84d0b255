package io.pageflux.migration;

import io.pageflux.convergence.ConvergenceFigures;
import java.time.Duration;

/**
 * What a migration's policy was asked with last: once a second, and at the end of each round. When
 * the guest is paused, these stay as they were just before.
 *
 * @param remainingBytes what the pages that the destination lacks will be on the wire, by what
 *     zeros, deltas and compression made of pages lately
 * @param bytesPerSecond bytes of the wire that the destination acknowledged, an average of the last
 *     seconds; 0 until it has
 * @param fixedDowntime what of {@link MigrationInfo#expectedDowntime()} there would be if no page
 *     were dirty: the last look for dirty pages, and the destination's answers
 * @param stalledRounds rounds since there was progress last, which is when less remained on the
 *     wire than ever before
 */
public record ConvergenceStatistics(
    long remainingBytes, double bytesPerSecond, Duration fixedDowntime, int stalledRounds) {

  /** {@return a part of the figures that a policy gets} */
  static ConvergenceStatistics of(ConvergenceFigures figures) {
    return new ConvergenceStatistics(
        figures.remainingBytes(),
        figures.rates().bytesPerSecond(),
        figures.downtime().fixed(),
        figures.stall().rounds());
  }
}
