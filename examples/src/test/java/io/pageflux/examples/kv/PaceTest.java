package io.pageflux.examples.kv;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class PaceTest {

  private final AtomicLong clock = new AtomicLong(1_000_000_000);
  private final AtomicInteger sleeps = new AtomicInteger();

  private Pace pace(double bytesPerSecond) {
    return new Pace(
        bytesPerSecond,
        clock::get,
        nanos -> {
          sleeps.incrementAndGet();
          clock.addAndGet(nanos);
        });
  }

  private long acquiredUntil(Pace pace, long end) {
    long acquired = 0;
    while (clock.get() < end) {
      if (pace.tryAcquire(4096)) {
        acquired += 4096;
      }
    }
    return acquired;
  }

  @Test
  void inASecondTheRateIsReachedAndNotExceeded() {
    long rate = 100 << 20;
    Pace pace = pace(rate);

    long acquired = acquiredUntil(pace, clock.get() + 1_000_000_000);

    assertThat(acquired).isBetween((long) (rate * 0.99), (long) (rate * 1.01));
  }

  @Test
  void whoIsThrottledDoesAsMuchLess() {
    long rate = 100 << 20;
    for (int percent : new int[] {0, 20, 75, 99}) {
      Pace pace = pace(rate);
      long end = clock.get() + 10_000_000_000L;
      long updates = 0;
      while (clock.get() < end) {
        if (pace.tryAcquire(KvUpdater.costOfUpdate(percent))) {
          updates++;
        }
      }
      double share = updates * 4096 / (rate * 10.0);
      assertThat(share)
          .as("%d %%", percent)
          .isBetween((99 - percent) / 100.0, (101 - percent) / 100.0);
    }
  }

  @Test
  void whoIsSlowSleepsInShortPieces() {
    Pace pace = pace(4096);
    pace.tryAcquire(4096);
    long before = clock.get();
    assertThat(pace.tryAcquire(4096)).isFalse();
    assertThat(clock.get() - before).isEqualTo(Pace.MOST_SLEEP_NANOS);
  }

  @Test
  void itSleepsRatherThanSpins() {
    Pace pace = pace(1L << 30);

    acquiredUntil(pace, clock.get() + 1_000_000_000);

    assertThat(sleeps.get()).isLessThan(1_100);
  }

  @Test
  void whatWasMissedIsMadeUpForButNotForLong() {
    Pace pace = pace(4096 * 1000);
    assertThat(pace.tryAcquire(4096)).isTrue();
    clock.addAndGet(10_000_000_000L);

    int burst = 0;
    while (pace.tryAcquire(4096)) {
      burst++;
    }

    assertThat(burst).isBetween(50, 53);
  }
}
