package io.pageflux.qemu.postcopy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.RepetitionInfo;
import org.junit.jupiter.api.Test;

/** No page goes out twice, none is forgotten, and whole host pages go out. */
class PagesLeftTest {

  private static final int PAGE = 4096;

  private static RamLayout layout(int... pages) {
    RamBlockLayout[] blocks = new RamBlockLayout[pages.length];
    for (int i = 0; i < pages.length; i++) {
      blocks[i] = new RamBlockLayout("b" + i, (long) pages[i] * PAGE, PAGE);
    }
    return new RamLayout(List.of(blocks));
  }

  @RepeatedTest(50)
  void anyOrderOfRequestsSendsEachPageOnce(RepetitionInfo repetition) {
    long seed = repetition.getCurrentRepetition();
    Random random = new Random(seed);
    int[] sizes = {64 * (1 + random.nextInt(20)), 1 + random.nextInt(300), 128};
    int[] host = {64, 1, 8};
    PagesLeft left = new PagesLeft(layout(sizes), new int[] {64 * PAGE, PAGE, 8 * PAGE});
    BitSet[] sent = {new BitSet(), new BitSet(), new BitSet()};
    int steps = 0;
    while (left.pages() > 0) {
      assertThat(++steps).as("seed %d", seed).isLessThan(10_000);
      if (random.nextInt(3) == 0) {
        int block = random.nextInt(3);
        int first = random.nextInt(sizes[block]);
        left.request(block, first, 1 + random.nextInt(sizes[block] - first), 1);
      }
      PagesLeft.Run run = left.takeRequested();
      assertThat(run == null || run.requested()).isTrue();
      if (run == null && random.nextBoolean()) {
        run = left.takeNext(1 + random.nextInt(20));
      }
      if (run == null) {
        continue;
      }
      BitSet block = sent[run.block()];
      int from = (int) run.from();
      int to = (int) run.to();
      assertThat(from % host[run.block()]).as("seed %d: %s", seed, run).isZero();
      assertThat(to % host[run.block()] == 0 || to == sizes[run.block()])
          .as("seed %d: %s", seed, run)
          .isTrue();
      assertThat(block.get(from, to).cardinality()).as("seed %d: %s twice", seed, run).isZero();
      block.set(from, to);
    }
    for (int i = 0; i < sizes.length; i++) {
      assertThat(sent[i].cardinality()).as("seed %d, block %d", seed, i).isEqualTo(sizes[i]);
    }
  }

  @Test
  void whatHasArrivedIsNotLeftAndAllElseIs() {
    PagesLeft left = new PagesLeft(layout(100), new int[] {PAGE});
    PageSet arrived = new PageSet(100);
    arrived.addRange(10, 50);
    arrived.add(99);
    left.arrived(0, arrived);
    assertThat(left.pages()).isEqualTo(59);
    assertThat(left.takeNext(100)).isEqualTo(new PagesLeft.Run(0, 0, 10, false, 0));
    assertThat(left.takeNext(100)).isEqualTo(new PagesLeft.Run(0, 50, 99, false, 0));
    assertThat(left.takeNext(100)).isNull();
  }

  @Test
  void aPartOfAHostPageCannotHaveArrived() {
    for (long page : new long[] {0, 5, 7, 15}) {
      PagesLeft left = new PagesLeft(layout(16), new int[] {8 * PAGE});
      PageSet arrived = new PageSet(16);
      arrived.add(page);
      assertThatThrownBy(() -> left.arrived(0, arrived))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("'b0'");
    }
  }

  @Test
  void requestsThatNobodyServesDoNotPileUp() {
    PagesLeft left = new PagesLeft(layout(100), new int[] {PAGE});
    for (int i = 0; i < PagesLeft.MAX_WAITING; i++) {
      left.request(0, i % 100, 1, i);
    }
    assertThatThrownBy(() -> left.request(0, 0, 1, 0))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("takes none");
  }
}
