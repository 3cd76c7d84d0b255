package io.pageflux.postcopy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.postcopy.PresenceMap.State;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;

class PresenceMapTest {

  private static final RamLayout LAYOUT =
      new RamLayout(
          List.of(
              new RamBlockLayout("ram", 100 * 4096, 4096), new RamBlockLayout("vga", 4096, 4096)));

  private final PresenceMap map = new PresenceMap(LAYOUT);

  @Test
  void everyPageIsThereAtFirst() {
    assertThat(map.isPresent(0, 99)).isTrue();
    assertThat(map.nextMissing(0, 0)).isEqualTo(-1);
    assertThat(map.claim(0, 5)).isFalse();
    assertThat(map.ask(0, 5)).isFalse();
  }

  @Test
  void aPageGoesThroughItsStates() {
    assertThat(map.remove(0, 31, 34)).isEqualTo(3);
    assertThat(map.state(0, 32)).isEqualTo(State.ABSENT);
    assertThat(map.ask(0, 32)).isTrue();
    assertThat(map.ask(0, 32)).isFalse();
    assertThat(map.state(0, 32)).isEqualTo(State.REQUESTED);
    assertThat(map.claim(0, 32)).isTrue();
    assertThat(map.claim(0, 32)).isFalse();
    assertThat(map.state(0, 32)).isEqualTo(State.ARRIVING);
    assertThat(map.isPresent(0, 32)).isFalse();
    map.arrived(0, 32);
    assertThat(map.isPresent(0, 32)).isTrue();
    assertThat(map.state(0, 31)).isEqualTo(State.ABSENT);
    assertThat(map.state(0, 33)).isEqualTo(State.ABSENT);
    assertThatThrownBy(() -> map.arrived(0, 33)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> map.isPresent(0, 100)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> map.remove(0, 99, 101)).isInstanceOf(IndexOutOfBoundsException.class);
  }

  @Test
  void randomRunsAreRemovedAndCounted() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    BitSet absent = new BitSet();
    for (int i = 0; i < 200; i++) {
      int from = random.nextInt(101);
      int to = from + random.nextInt(Math.min(40, 101 - from));
      int before = absent.cardinality();
      absent.set(from, to);
      assertThat(map.remove(0, from, to))
          .as("seed %d, run %d", seed, i)
          .isEqualTo(absent.cardinality() - before);
      for (int page = 0; page < 100; page++) {
        assertThat(map.isPresent(0, page)).as("seed %d", seed).isNotEqualTo(absent.get(page));
      }
      assertThat(map.nextMissing(0, 7)).isEqualTo(absent.nextSetBit(7));
    }
    assertThat(map.isPresent(1, 0)).isTrue();
  }

  @Test
  void aPageThatCouldNotBeWrittenIsAbsentAgain() {
    PresenceMap map = new PresenceMap(LAYOUT);
    map.remove(0, 4, 6);
    map.ask(0, 4);
    assertThat(map.claim(0, 4)).isTrue();
    assertThat(map.nextMissing(0, 0)).isEqualTo(4);
    map.unclaim(0, 4);
    assertThat(map.state(0, 4)).isEqualTo(PresenceMap.State.ABSENT);
    assertThatThrownBy(() -> map.unclaim(0, 5))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("page 5 of block 0 was not claimed: it is ABSENT");
    assertThat(map.claim(0, 4)).isTrue();
    map.arrived(0, 4);
    assertThat(map.isPresent(0, 4)).isTrue();
  }

  @Test
  void ofManyWhoClaimAPageOneGetsIt() throws InterruptedException {
    int threads = 4;
    try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
      for (int round = 0; round < 50; round++) {
        PresenceMap shared = new PresenceMap(LAYOUT);
        shared.remove(0, 0, 100);
        AtomicIntegerArray claims = new AtomicIntegerArray(100);
        AtomicIntegerArray asked = new AtomicIntegerArray(100);
        CountDownLatch done = new CountDownLatch(threads);
        for (int t = 0; t < threads; t++) {
          pool.execute(
              () -> {
                for (int page = 0; page < 100; page++) {
                  if (shared.ask(0, page)) {
                    asked.incrementAndGet(page);
                  }
                  if (shared.claim(0, page)) {
                    claims.incrementAndGet(page);
                    shared.arrived(0, page);
                  }
                }
                done.countDown();
              });
        }
        assertThat(done.await(30, TimeUnit.SECONDS)).isTrue();
        for (int page = 0; page < 100; page++) {
          assertThat(claims.get(page)).isEqualTo(1);
          assertThat(asked.get(page)).isLessThanOrEqualTo(1);
          assertThat(shared.isPresent(0, page)).isTrue();
        }
      }
    }
  }
}
