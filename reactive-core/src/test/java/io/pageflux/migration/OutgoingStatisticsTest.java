package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.GuestMemory;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

class OutgoingStatisticsTest {

  private static final long MILLI = 1_000_000;

  private static OutgoingStatistics statistics() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build()) {
      return new OutgoingStatistics(OutgoingSpec.of(memory, Guest.passive(), Mono::never), 0);
    }
  }

  private static long rate(OutgoingStatistics statistics, long nowNanos) {
    return statistics.info(nowNanos, () -> null).ram().dirtyPagesRate();
  }

  @Test
  void theDirtyRateIsThatOfTheLastWholeSecond() {
    OutgoingStatistics statistics = statistics();
    statistics.firstRound(0);
    statistics.collected(0, 400, 2000 * MILLI);
    assertThat(rate(statistics, 2000 * MILLI)).isEqualTo(200);
    // A moment later, when the guest is paused: far too short to say anything.
    statistics.collected(0, 1, 2001 * MILLI);
    assertThat(rate(statistics, 2001 * MILLI)).isEqualTo(200);
    statistics.collected(0, 99, 3000 * MILLI);
    assertThat(rate(statistics, 3000 * MILLI)).isEqualTo(100);
  }

  @Test
  void aFirstRoundShorterThanASecondGivesARateToo() {
    OutgoingStatistics statistics = statistics();
    statistics.firstRound(0);
    statistics.collected(0, 50, 100 * MILLI);
    assertThat(rate(statistics, 100 * MILLI)).isEqualTo(500);
  }
}
