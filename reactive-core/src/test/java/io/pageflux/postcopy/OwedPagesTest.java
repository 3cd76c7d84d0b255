package io.pageflux.postcopy;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class OwedPagesTest {

  private static final RamLayout LAYOUT =
      new RamLayout(
          List.of(
              new RamBlockLayout("ram", 40 * 512, 512), new RamBlockLayout("vga", 8 * 512, 512)));

  private static MemoryPages pages(long... ofFirst) {
    MemoryPages pages = new MemoryPages(LAYOUT);
    for (long page : ofFirst) {
      pages.of(0).add(page);
    }
    return pages;
  }

  @Test
  void theBackgroundGoesOnBehindTheLastRequestAndComesAround() {
    MemoryPages all = pages(1, 2, 3, 20, 21, 22, 39);
    all.of(1).add(4);
    OwedPages owed = new OwedPages(all);
    assertThat(owed.pick(b -> 2).pages()).containsExactly(1, 2);
    assertThat(owed.take(0, 20)).isTrue();
    assertThat(owed.pick(b -> 2).pages()).containsExactly(21, 22);
    assertThat(owed.pick(b -> 4).pages()).containsExactly(39);
    OwedPages.Picked inNext = owed.pick(b -> 4);
    assertThat(inNext.block()).isEqualTo(1);
    assertThat(inNext.pages()).containsExactly(4);
    assertThat(owed.left()).isEqualTo(1);
    assertThat(owed.pick(b -> 4).pages()).containsExactly(3);
    assertThat(owed.pick(b -> 4).pages()).isEmpty();
    assertThat(owed.picked()).isEqualTo(7);
    assertThat(owed.taken()).isEqualTo(1);
  }

  @Test
  void aRequestForAPageThatWasPushedMovesTheBackgroundAndIsNotServed() {
    OwedPages owed = new OwedPages(pages(1, 2, 30, 31));
    owed.pick(b -> 2);
    owed.requireRequestable(0, 1, 1);
    assertThat(owed.take(0, 1)).isFalse();
    assertThat(owed.pick(b -> 1).pages()).containsExactly(30);
    assertThat(owed.taken()).isZero();
  }

  @Test
  void everyPageIsGivenOutOnceInAnyOrder() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int i = 0; i < 200; i++) {
      MemoryPages all = new MemoryPages(LAYOUT);
      for (int block = 0; block < 2; block++) {
        for (long page = 0; page < LAYOUT.blocks().get(block).pageCount(); page++) {
          if (random.nextBoolean()) {
            all.of(block).add(page);
          }
        }
      }
      long count = all.cardinality();
      MemoryPages given = new MemoryPages(LAYOUT);
      OwedPages owed = new OwedPages(all);
      while (owed.left() > 0) {
        if (random.nextInt(3) == 0) {
          int block = random.nextInt(2);
          long page = random.nextLong(LAYOUT.blocks().get(block).pageCount());
          if (owed.take(block, page)) {
            assertThat(given.of(block).add(page)).as("seed %d", seed).isTrue();
          }
        } else {
          OwedPages.Picked picked = owed.pick(b -> 1 + random.nextInt(5));
          assertThat(picked.pages()).as("seed %d", seed).isNotEmpty().isSorted();
          for (long page : picked.pages()) {
            assertThat(given.of(picked.block()).add(page)).as("seed %d", seed).isTrue();
          }
        }
      }
      assertThat(given.cardinality()).as("seed %d", seed).isEqualTo(count);
      assertThat(owed.picked() + owed.taken()).isEqualTo(count);
    }
  }

  @Test
  void whatADestinationStillLacksIsGivenOutAgain() {
    OwedPages owed = new OwedPages(pages(1, 2, 3, 30));
    owed.pick(b -> 2);
    owed.requireRequestable(0, 30, 1);
    owed.take(0, 30);
    OwedPages again = owed.restarted(pages(2, 3, 30), 0);
    assertThat(again.absentPages()).isEqualTo(4);
    assertThat(again.left()).isEqualTo(3);
    again.requireRequestable(0, 30, 1);
    assertThat(again.take(0, 30)).isTrue();
    // Whoever still has the other one takes nothing away.
    owed.pick(b -> 9);
    assertThat(again.left()).isEqualTo(2);
    assertThat(again.pick(b -> 9).pages()).containsExactly(2, 3);
    assertThat(again.picked()).isEqualTo(2);
    assertThat(again.taken()).isEqualTo(1);
  }

  @Test
  void claimsOfADestinationThatComesBackAreChecked() {
    OwedPages owed = new OwedPages(pages(1, 2, 3));
    owed.pick(b -> 1);
    claims(owed, pages(1, 2, 3, 4), 0, "to lack page 4 of block 0, which was there at the switch");
    claims(owed, pages(1, 2), 0, "to have page 3 of block 0, which was not sent");
    claims(owed, pages(), 1, "to have page 3 of block 0, which was not sent");
    OwedPages again = owed.restarted(pages(1, 2), 1); // Page 3 was written by the guest.
    claims(again, pages(1), 1, "to have page 2 of block 0, which was not sent");
    assertThat(again.restarted(pages(1), 2).left()).isEqualTo(1);
  }

  private static void claims(OwedPages owed, MemoryPages missing, long owned, String what) {
    assertThatThrownBy(() -> owed.restarted(missing, owned))
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.PROTOCOL))
        .hasMessageContaining("the destination claims " + what);
  }

  @Test
  void requestsThatCannotBeAreRefusedWithTheReason() {
    OwedPages owed = new OwedPages(pages(1, 2));
    refused(owed, 2, 0, 1, "block 2 of a layout of 2");
    refused(owed, -1, 0, 1, "block -1");
    refused(owed, 0, 40, 1, "which has 40");
    refused(owed, 0, Long.MAX_VALUE, 1, "which has 40");
    refused(owed, 0, 39, 2, "which has 40");
    refused(owed, 0, -1, 1, "which has 40");
    refused(owed, 0, 1, 0, "which has 40");
    refused(owed, 0, 3, 1, "which it does not lack");
    refused(owed, 0, 2, 2, "page 3 of block 0, which it does not lack");
    owed.requireRequestable(0, 1, 1);
    refused(owed, 0, 1, 1, "a second time");
  }

  private static void refused(OwedPages owed, long block, long first, long count, String why) {
    assertThatThrownBy(() -> owed.requireRequestable(block, first, count))
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.PROTOCOL))
        .hasMessageContaining(why);
  }

  @Test
  void wholePagesOfALargerHost() {
    MemoryPages set = pages(0, 9, 17, 39);
    set.of(1).add(1);
    HostPages.expand(set, 2048);
    assertThat(runs(set, 0)).isEqualTo("0-4 8-12 16-20 36-40 ");
    assertThat(runs(set, 1)).isEqualTo("0-4 ");
    MemoryPages same = pages(5);
    HostPages.expand(same, 512);
    assertThat(runs(same, 0)).isEqualTo("5-6 ");
    MemoryPages odd =
        new MemoryPages(new RamLayout(List.of(new RamBlockLayout("x", 10 * 512, 512))));
    odd.of(0).add(9);
    HostPages.expand(odd, 4096);
    assertThat(runs(odd, 0)).isEqualTo("8-10 ");
  }

  private static String runs(MemoryPages pages, int block) {
    StringBuilder text = new StringBuilder();
    pages.of(block).forEachRun((from, to) -> text.append(from).append('-').append(to).append(' '));
    return text.toString();
  }
}
