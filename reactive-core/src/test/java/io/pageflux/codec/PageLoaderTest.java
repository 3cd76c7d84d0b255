package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PageLoaderTest {

  private static final int PAGE = 4096;

  private final GuestMemory source =
      GuestMemory.builder().anonymous("a", 40 * PAGE).anonymous("b", 8 * PAGE).build();
  private final GuestMemory destination =
      GuestMemory.builder().anonymous("a", 40 * PAGE).anonymous("b", 8 * PAGE).build();
  private final Batches batches = new Batches(BatchGeometry.DEFAULT);
  private final PageLoader loader = new PageLoader(destination);

  @AfterEach
  void close() {
    batches.close();
    destination.close();
    source.close();
  }

  @Test
  void runsAndGapsOfBothKindsArriveWhereTheyBelong() {
    for (int seed = 0; seed < 300; seed++) {
      Random random = new Random(seed);
      for (RamBlock block : source.blocks()) {
        for (long page = 0; page < block.pageCount(); page++) {
          if (random.nextInt(3) == 0) {
            Batches.page(block, page).fill((byte) 0);
          } else if (random.nextInt(3) != 0) {
            Bytes.randomize(Batches.page(block, page), random);
          } else {
            // It does not change, and may be left out.
            continue;
          }
        }
        PageBatch all = batches.empty(block);
        for (long page = 0; page < block.pageCount(); page++) {
          RamBlock there = destination.block(block.index());
          boolean same = Batches.page(block, page).mismatch(Batches.page(there, page)) < 0;
          if (same && random.nextBoolean()) {
            continue;
          }
          if (ZeroTest.isZero(block.segment(), block.pageOffset(page), PAGE)) {
            all.append(page, PageKind.ZERO, 0);
          } else {
            Batches.append(all, page, PageKind.RAW, Batches.page(block, page));
          }
        }
        loader.load(all);
        all.release();
      }
      assertThat(Batches.same(source, destination)).as("seed %d", seed).isTrue();
    }
  }

  @Test
  void pagesAreCountedByKind() {
    Bytes.set(source.block("a").segment(), 2 * PAGE, 1);
    PageBatch batch = batches.of(source.block("a"), 0, 1, 2, 5);
    loader.load(batch);
    loader.load(batch);
    assertThat(loader.rawPages()).isEqualTo(2);
    assertThat(loader.zeroPages()).isEqualTo(6);
    assertThat(loader.untouchedZeroPages()).isEqualTo(6);
  }

  @Test
  void aZeroPageOverAWrittenPageIsWritten() {
    RamBlock a = source.block("a");
    Bytes.set(a.segment(), PAGE, 1);
    loader.load(batches.of(a, 1));
    Bytes.set(a.segment(), PAGE, 0);
    loader.load(batches.of(a, 1));
    assertThat(Batches.same(source, destination)).isTrue();
    assertThat(loader.untouchedZeroPages()).isZero();
  }

  @Test
  void aBlockThatExistedBeforeIsZeroedWhereItIsNotZero(@TempDir Path directory) throws IOException {
    Path file = directory.resolve("ram");
    byte[] old = new byte[4 * PAGE];
    old[PAGE + 7] = 1;
    Files.write(file, old);
    try (GuestMemory existing = GuestMemory.builder().file("f", file).build()) {
      PageLoader over = new PageLoader(existing);
      PageBatch batch = batches.empty(existing.block(0));
      for (long page = 0; page < 4; page++) {
        batch.append(page, PageKind.ZERO, 0);
      }
      over.load(batch);
      assertThat(ZeroTest.isZero(existing.block(0).segment(), 0, 4 * PAGE)).isTrue();
      assertThat(over.untouchedZeroPages()).isEqualTo(3);
    }
  }

  @Test
  void aFreshBlockIsNotEvenReadForAZeroPage() {
    // A page of a fresh block that was written by nobody is taken for zero; that nobody looks is
    // seen by writing to it behind the loader's back.
    Bytes.set(destination.block("b").segment(), 0, 1);
    loader.load(batches.of(source.block("b"), 0));
    assertThat(Bytes.get(destination.block("b").segment(), 0)).isEqualTo((byte) 1);
  }

  @Test
  void deltasAndCompressedBatchesAreRefused() {
    PageBatch delta = batches.empty(source.block("a"));
    Batches.append(delta, 0, PageKind.DELTA, Bytes.of(new byte[] {0, 1, 2}));
    assertThatThrownBy(() -> loader.load(delta)).isInstanceOf(IllegalStateException.class);
    PageBatch compressed = batches.raw(source.block("a"), 0);
    compressed.markCompressed(100);
    assertThatThrownBy(() -> loader.load(compressed)).isInstanceOf(IllegalStateException.class);
    assertThat(loader.rawPages()).isZero();
  }

  @Test
  void aBatchForAnotherLayoutIsRefused() {
    for (PageBatch batch :
        new PageBatch[] {
          batches.empty(2, source.block("a").layout()),
          batches.empty(1, source.block("a").layout()),
          batches.empty(0, new RamBlockLayout("a", 41 * PAGE, PAGE))
        }) {
      batch.append(39, PageKind.ZERO, 0);
      assertThatThrownBy(() -> loader.load(batch))
          .isInstanceOfSatisfying(
              MigrationException.class,
              e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.LAYOUT));
    }
  }
}
