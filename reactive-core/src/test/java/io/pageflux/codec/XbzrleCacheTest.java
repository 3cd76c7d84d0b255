package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class XbzrleCacheTest {

  private static final int PAGE = 4096;

  @Test
  void theCapacityIsRoundedDownToAPowerOfTwoOfPagesAndIsAtLeastOnePage() {
    assertSlots(1, 1);
    assertSlots(PAGE, 1);
    assertSlots(2 * PAGE - 1, 1);
    assertSlots(7 * PAGE, 4);
    assertSlots(8 * PAGE, 8);
  }

  private static void assertSlots(long capacity, long slots) {
    try (XbzrleCache cache = new XbzrleCache(capacity, PAGE)) {
      assertThat(cache.slots()).isEqualTo(slots);
      assertThat(cache.capacityBytes()).isEqualTo(slots * PAGE);
      assertThat(cache.memory().byteSize()).isEqualTo(slots * (PAGE + 16));
    }
  }

  @Test
  void aPageIsFoundWhereItWasPut() {
    try (XbzrleCache cache = new XbzrleCache(4 * PAGE, PAGE)) {
      assertThat(cache.find(0, 1)).isEqualTo(-1);
      for (long page = 0; page < 4; page++) {
        assertThat(cache.claim(page * PAGE, 1)).isEqualTo(page * PAGE);
      }
      for (long page = 0; page < 4; page++) {
        assertThat(cache.find(page * PAGE, 1)).isEqualTo(page * PAGE);
        assertThat(cache.find((page + 4) * PAGE, 1)).isEqualTo(-1);
      }
    }
  }

  @Test
  void aPageKeepsItsSlotForTwoRoundsAndLongerIfItIsAskedFor() {
    try (XbzrleCache cache = new XbzrleCache(4 * PAGE, PAGE)) {
      long mine = PAGE;
      long theirs = 5 * PAGE;
      cache.claim(mine, 10);
      assertThat(cache.claim(theirs, 10)).isEqualTo(-1);
      assertThat(cache.claim(theirs, 11)).isEqualTo(-1);
      assertThat(cache.find(mine, 11)).isEqualTo(PAGE);
      assertThat(cache.claim(theirs, 12)).isEqualTo(-1);
      assertThat(cache.claim(theirs, 13)).isEqualTo(PAGE);
      assertThat(cache.find(mine, 13)).isEqualTo(-1);
      assertThat(cache.find(theirs, 13)).isEqualTo(PAGE);
    }
  }

  @Test
  void clearingForgetsEverything() {
    try (XbzrleCache cache = new XbzrleCache(4 * PAGE, PAGE)) {
      cache.memory().asSlice(cache.claim(0, 1), PAGE).fill((byte) 1);
      cache.clear();
      assertThat(cache.find(0, 1)).isEqualTo(-1);
      assertThat(cache.claim(4 * PAGE, 1)).isZero();
      assertThat(ZeroTest.isZero(cache.memory(), 0, PAGE)).isTrue();
    }
  }

  @Test
  void aLargeCacheCostsNothingUntilItIsUsed() {
    // More than the heap and the direct memory that tests run with, together.
    try (XbzrleCache cache = new XbzrleCache(16L << 30, PAGE)) {
      assertThat(cache.claim((16L << 30) - PAGE, 1)).isEqualTo((16L << 30) - PAGE);
    }
  }

  @Test
  void sizesOutOfRangeAreRefused() {
    assertThatThrownBy(() -> new XbzrleCache(0, PAGE)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new XbzrleCache(Long.MAX_VALUE, PAGE))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new XbzrleCache(1 << 20, 4095))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new XbzrleSpec(0, true)).isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aClosedCacheIsNotTouched() {
    XbzrleCache cache = new XbzrleCache(PAGE, PAGE);
    cache.close();
    cache.close();
    assertThatThrownBy(() -> cache.find(0, 1)).isInstanceOf(IllegalStateException.class);
  }
}
