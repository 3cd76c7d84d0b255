package io.pageflux.postcopy;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class LatencyHistogramTest {

  @Test
  void ofNothingItSaysZero() {
    assertThat(new LatencyHistogram().summary()).isEqualTo(LatencyHistogram.Summary.EMPTY);
  }

  @Test
  void quantilesAreAtMostASixteenthTooHigh() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    LatencyHistogram histogram = new LatencyHistogram();
    long[] values = new long[10_000];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextLong() >>> 1 + random.nextInt(63);
      histogram.add(values[i]);
    }
    Arrays.sort(values);
    for (double part : new double[] {0, 0.01, 0.5, 0.9, 0.99, 1}) {
      long exact = values[(int) Math.max(0, Math.ceil(part * values.length) - 1)];
      assertThat(histogram.quantile(part).toNanos())
          .as("seed %d, %f", seed, part)
          .isGreaterThanOrEqualTo(exact)
          .satisfies(told -> assertThat(told - exact).isLessThanOrEqualTo(exact / 16));
    }
    assertThat(histogram.count()).isEqualTo(values.length);
    assertThat(histogram.max().toNanos()).isEqualTo(values[values.length - 1]);
  }

  @Test
  void theEndsOfTheRange() {
    LatencyHistogram histogram = new LatencyHistogram();
    histogram.add(-5);
    histogram.add(Long.MAX_VALUE);
    assertThat(histogram.quantile(0.5)).isZero();
    assertThat(histogram.quantile(1).toNanos()).isEqualTo(Long.MAX_VALUE);
  }
}
