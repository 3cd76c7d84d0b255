package io.pageflux.prediction;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class DirtyHistoryTest {

  private static final int PAGES = 5000;
  private static final int PERIODS = 70;
  private static final long SEED = 3;

  private final RamLayout layout =
      new RamLayout(
          List.of(
              new RamBlockLayout("a", 1000L * 4096, 4096),
              new RamBlockLayout("b", 4000L * 4096, 4096)));
  private final List<BitSet> script = new ArrayList<>();

  private DirtyHistory played(DirtyHistory history) {
    SplittableRandom random = new SplittableRandom(SEED);
    for (int i = 0; i < PERIODS; i++) {
      MemoryPages dirty = new MemoryPages(layout);
      BitSet bits = new BitSet();
      for (int w = 0; w < 100; w++) {
        int page = random.nextInt(4) > 0 ? random.nextInt(200) + 900 : random.nextInt(PAGES);
        bits.set(page);
        dirty.of(page < 1000 ? 0 : 1).add(page < 1000 ? page : page - 1000);
      }
      script.add(bits);
      history.add(dirty);
    }
    return history;
  }

  private int distinct(int from, int count) {
    BitSet all = new BitSet();
    for (int i = 0; i < count; i++) {
      all.or(script.get((from + i) % PERIODS));
    }
    return all.cardinality();
  }

  @Test
  void aWindowHasAsManyPagesAsItsPeriodsTogether() {
    DirtyCurve curve = played(new DirtyHistory()).curve(0.5, PAGES);
    for (int from = 0; from < PERIODS; from += 7) {
      for (int count = 0; count <= PERIODS; count++) {
        assertThat(curve.pages(from * 0.5, count * 0.5, 0))
            .as("%d periods from %d, seed %d", count, from, SEED)
            .isCloseTo(distinct(from, count), within(1e-6));
      }
    }
  }

  @Test
  void aHistoryWithLittleRoomEstimates() {
    DirtyCurve curve = played(new DirtyHistory(256)).curve(0.5, PAGES);
    int all = distinct(0, PERIODS);
    assertThat(curve.pages(0, PERIODS * 0.5, 0)).isCloseTo(all, within(all * 0.2));
  }

  @Test
  void longerTimesShowMorePagesAndNeverMoreThanThereAre() {
    DirtyCurve curve = played(new DirtyHistory()).curve(0.5, PAGES);
    double seen = curve.pages(0, 35, 0);
    double low = curve.pages(0, 70, -1);
    double likely = curve.pages(0, 70, 0);
    double high = curve.pages(0, 70, 1);
    assertThat(low).isEqualTo(seen);
    assertThat(likely).isGreaterThan(low).isLessThan(high);
    assertThat(curve.pages(0, 1e9, 1)).isEqualTo(PAGES);
  }
}
