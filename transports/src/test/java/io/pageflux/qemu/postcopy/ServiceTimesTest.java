package io.pageflux.qemu.postcopy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What is read from the counts is what was recorded, but for an eighth. */
class ServiceTimesTest {

  @Test
  void quantilesAreThoseOfTheTimesButForAnEighth() {
    Random random = new Random(3);
    ServiceTimes.Recorder recorder = new ServiceTimes.Recorder();
    long[] times = new long[10_001];
    for (int i = 0; i < times.length; i++) {
      times[i] = (long) Math.exp(random.nextDouble() * 25);
      recorder.record(times[i]);
    }
    Arrays.sort(times);
    ServiceTimes all = recorder.times();
    assertThat(all.count()).isEqualTo(times.length);
    assertThat(all.maxNanos()).isEqualTo(times[times.length - 1]);
    assertThat(all.meanNanos()).isEqualTo(Arrays.stream(times).sum() / times.length);
    for (int percent : new int[] {1, 10, 50, 90, 99, 100}) {
      long exact = times[(int) Math.ceil(percent / 100.0 * times.length) - 1];
      assertThat(all.quantileNanos(percent / 100.0))
          .as("%d %%", percent)
          .isBetween(exact, exact + exact / 8 + 1);
    }
  }

  @Test
  void theShortestAndTheLongestTimesHaveAPlace() {
    ServiceTimes.Recorder recorder = new ServiceTimes.Recorder();
    for (long nanos : new long[] {0, 1, 7, 8, 9, 15, 16, Long.MAX_VALUE, -5}) {
      recorder.record(nanos);
    }
    ServiceTimes all = recorder.times();
    assertThat(all.count()).isEqualTo(9);
    assertThat(all.quantileNanos(1)).isEqualTo(Long.MAX_VALUE);
    assertThat(all.quantileNanos(0)).isZero();
    assertThat(all.quantileNanos(0.5)).isCloseTo(8, within(1L));
  }

  @Test
  void nothingIsNothing() {
    assertThat(ServiceTimes.NONE.count()).isZero();
    assertThat(ServiceTimes.NONE.meanNanos()).isZero();
    assertThat(ServiceTimes.NONE.quantileNanos(0.5)).isZero();
    assertThat(ServiceTimes.NONE).isEqualTo(new ServiceTimes.Recorder().times());
    assertThatThrownBy(() -> ServiceTimes.NONE.quantileNanos(1.5))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
