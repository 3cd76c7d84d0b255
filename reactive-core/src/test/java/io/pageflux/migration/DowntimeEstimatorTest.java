package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class DowntimeEstimatorTest {

  private static final long MILLI = 1_000_000;

  @Test
  void theDowntimeIsTheRestAtTheRateOfLateAndWhatASwitchOverCosts() {
    DowntimeEstimator estimator = new DowntimeEstimator();
    estimator.round(10_000, 1000 * MILLI, 2 * MILLI);
    estimator.collected(4 * MILLI);
    assertThat(estimator.pagesPerSecond()).isEqualTo(10_000);
    assertThat(estimator.estimate(0)).hasMillis(4 + 3 * 2);
    assertThat(estimator.estimate(1_000)).hasMillis(100 + 4 + 3 * 2);
  }

  @Test
  void aTinyRoundHardlyChangesTheRate() {
    DowntimeEstimator estimator = new DowntimeEstimator();
    estimator.round(100_000, 10_000 * MILLI, MILLI);
    estimator.round(1, 5 * MILLI, MILLI);
    assertThat(estimator.pagesPerSecond()).isBetween(9_900.0, 10_000.0);
  }

  @Test
  void aLinkThatGetsSlowerIsNoticedWithinAFewRounds() {
    DowntimeEstimator estimator = new DowntimeEstimator();
    estimator.round(100_000, 10_000 * MILLI, MILLI);
    for (int i = 0; i < 4; i++) {
      estimator.round(10_000, 10_000 * MILLI, MILLI);
    }
    assertThat(estimator.pagesPerSecond()).isBetween(1_000.0, 4_500.0);
  }

  @Test
  void nothingKnownMeansNothingPromised() {
    assertThat(new DowntimeEstimator().estimate(5)).isZero();
    assertThat(new DowntimeEstimator().pagesPerSecond()).isZero();
  }
}
