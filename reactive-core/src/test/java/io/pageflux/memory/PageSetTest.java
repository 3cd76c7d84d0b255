package io.pageflux.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PageSetTest {

  @ParameterizedTest
  @ValueSource(ints = {1, 63, 64, 65, 4095, 4096, 4097, 70_000})
  void randomChangesAreThoseOfABitSet(int pages) {
    for (int seed = 0; seed < 30; seed++) {
      Random random = new Random(seed);
      PageSet set = new PageSet(pages);
      BitSet model = new BitSet(pages);
      for (int step = 0; step < 60; step++) {
        change(set, model, random);
        String where = "%d pages, seed %d, step %d".formatted(pages, seed, step);
        assertThat(set.cardinality()).as(where).isEqualTo(model.cardinality());
        assertThat(set.isEmpty()).as(where).isEqualTo(model.isEmpty());
        int page = random.nextInt(pages);
        assertThat(set.contains(page)).as(where).isEqualTo(model.get(page));
        assertThat(set.nextSet(page)).as(where).isEqualTo(model.nextSetBit(page));
        assertThat(set.nextClear(page))
            .as(where)
            .isEqualTo(Math.min(pages, model.nextClearBit(page)));
      }
      assertThat(runs(set)).as("%d pages, seed %d", pages, seed).isEqualTo(runs(model));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 64, 4097, 70_000})
  void ofEachStretchTheFirstPagesAreHandedOut(int pages) {
    for (int seed = 0; seed < 30; seed++) {
      Random random = new Random(seed);
      PageSet set = new PageSet(pages);
      BitSet model = new BitSet(pages);
      for (int step = 0; step < 20; step++) {
        change(set, model, random);
      }
      long counted = random.nextInt(500);
      long stretch = 1 + random.nextInt(300);
      long first = 1 + random.nextInt((int) stretch);
      List<Long> expected = new ArrayList<>();
      long n = counted;
      for (int page = model.nextSetBit(0); page >= 0; page = model.nextSetBit(page + 1)) {
        if (n++ % stretch < first) {
          expected.add((long) page);
        }
      }
      List<Long> taken = new ArrayList<>();
      assertThat(set.forEachFirst(counted, stretch, first, taken::add)).isEqualTo(n);
      assertThat(taken).as("%d pages, seed %d", pages, seed).isEqualTo(expected);
    }
  }

  private static void change(PageSet set, BitSet model, Random random) {
    int pages = (int) set.pageCount();
    int from = random.nextInt(pages);
    int to = from + (random.nextBoolean() ? random.nextInt(pages - from + 1) : 0);
    long before = model.cardinality();
    switch (random.nextInt(12)) {
      case 0 -> {
        set.clear();
        model.clear();
      }
      case 1 -> {
        PageSet other = new PageSet(pages);
        for (int i = 0; i < 5; i++) {
          int page = random.nextInt(pages);
          other.add(page);
          model.set(page);
        }
        other.add(from);
        other.remove(from); // Leaves a summary bit behind, and nothing under it.
        if (model.get(from) && !set.contains(from)) {
          other.add(from);
        }
        assertThat(set.addAll(other)).isEqualTo(model.cardinality() - before);
      }
      case 2 -> {
        model.set(from, to);
        assertThat(set.addRange(from, to)).isEqualTo(model.cardinality() - before);
      }
      case 3, 4, 5, 6 -> {
        assertThat(set.remove(from)).isEqualTo(model.get(from));
        model.clear(from);
      }
      default -> {
        assertThat(set.add(from)).isEqualTo(!model.get(from));
        model.set(from);
      }
    }
  }

  private static List<String> runs(PageSet set) {
    List<String> runs = new ArrayList<>();
    set.forEachRun((from, to) -> runs.add(from + "-" + to));
    return runs;
  }

  private static List<String> runs(BitSet model) {
    List<String> runs = new ArrayList<>();
    for (int from = model.nextSetBit(0); from >= 0; ) {
      int to = model.nextClearBit(from);
      runs.add(from + "-" + to);
      from = model.nextSetBit(to);
    }
    return runs;
  }

  @Test
  void aFewPagesAreFoundInAVeryLargeSet() {
    long pages = (1L << 28) + 5; // 1 TiB
    PageSet set = new PageSet(pages);
    set.add(3);
    set.add(1L << 27);
    set.addRange(pages - 2, pages);
    assertThat(runs(set))
        .containsExactly("3-4", (1L << 27) + "-" + ((1L << 27) + 1), (pages - 2) + "-" + pages);
    assertThat(set.cardinality()).isEqualTo(4);
    assertThat(set.nextSet((1L << 27) + 1)).isEqualTo(pages - 2);
    set.remove(1L << 27);
    assertThat(set.nextSet(4)).isEqualTo(pages - 2);
    set.clear();
    assertThat(set.isEmpty()).isTrue();
  }

  @Test
  void aSetMayHaveMorePagesThanAnIntCanCount() {
    long pages = (1L << 31) + 100;
    PageSet set = new PageSet(pages);
    assertThat(set.add(pages - 1)).isTrue();
    assertThat(set.contains(pages - 1)).isTrue();
    assertThat(set.nextSet(0)).isEqualTo(pages - 1);
    assertThat(set.nextClear(pages - 1)).isEqualTo(pages);
  }

  @Test
  void everyPageIsAllPagesAndNoneBehindThem() {
    for (long pages : new long[] {0, 1, 64, 100}) {
      PageSet set = new PageSet(pages);
      set.addAll();
      assertThat(set.cardinality()).isEqualTo(pages);
      assertThat(set.nextClear(0)).isEqualTo(pages);
      assertThat(set.nextSet(pages)).isEqualTo(-1);
      assertThat(set.isEmpty()).isEqualTo(pages == 0);
    }
  }

  @Test
  void pagesOutsideTheBlockAreRefused() {
    PageSet set = new PageSet(100);
    assertThatThrownBy(() -> set.add(100)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.remove(-1)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.contains(127)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.addRange(99, 101)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.addRange(5, 4)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.nextSet(-1)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.nextClear(-1)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> set.addAll(new PageSet(99)))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new PageSet(-1)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new PageSet(1L << 37)).isInstanceOf(IllegalArgumentException.class);
    assertThat(set.isEmpty()).isTrue();
  }

  @Test
  void setsOfAllBlocksAddUp() {
    RamLayout layout =
        new RamLayout(
            List.of(
                new RamBlockLayout("a", 8 * 4096, 4096), new RamBlockLayout("b", 4 * 8192, 8192)));
    MemoryPages pages = new MemoryPages(layout);
    assertThat(pages.isEmpty()).isTrue();
    pages.of(0).add(1);
    pages.of(1).addRange(1, 3);
    assertThat(pages.cardinality()).isEqualTo(3);
    assertThat(pages.bytes()).isEqualTo(4096 + 2 * 8192);
    MemoryPages all = new MemoryPages(layout);
    all.addAll();
    assertThat(pages.addAll(all)).isEqualTo(9);
    assertThat(pages.cardinality()).isEqualTo(12);
    pages.clear();
    assertThat(pages.isEmpty()).isTrue();
  }
}
