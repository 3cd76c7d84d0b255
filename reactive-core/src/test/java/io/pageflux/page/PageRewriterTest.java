package io.pageflux.page;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.RamBlockLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PageRewriterTest {

  private static final int PAGE = 512;
  private static final RamBlockLayout RAM = new RamBlockLayout("ram", 1000 * PAGE, PAGE);

  private final BatchGeometry geometry = new BatchGeometry(32, 8192);
  private final SlabPool pool = new SlabPool(1, geometry);

  @AfterEach
  void close() {
    pool.close();
  }

  private record Expected(long page, PageKind kind, byte[] contents) {}

  private PageBatch batch() {
    return new PageBatch(
        0, RAM, Objects.requireNonNull(pool.tryAcquire()), geometry.headroomBytes(), geometry);
  }

  private static void append(PageBatch batch, long page, byte[] contents) {
    MemorySegment.copy(
        contents,
        0,
        batch.slab(),
        ValueLayout.JAVA_BYTE,
        (long) batch.payloadOffset() + batch.payloadBytes(),
        contents.length);
    batch.append(page, contents.length == 0 ? PageKind.ZERO : PageKind.RAW, contents.length);
  }

  @Test
  void everyMixOfChangesLeavesThePagesInOrder() {
    MemorySegment delta = Arena.ofAuto().allocate(PAGE);
    for (int seed = 0; seed < 2000; seed++) {
      Random random = new Random(seed);
      PageBatch batch = batch();
      List<Expected> before = new ArrayList<>();
      int raw = random.nextInt(17);
      for (long page = 0; page < raw + 3; page++) {
        byte[] contents = new byte[page % 6 == 5 || page >= 16 ? 0 : PAGE];
        random.nextBytes(contents);
        append(batch, page * 7, contents);
        before.add(
            new Expected(page * 7, contents.length == 0 ? PageKind.ZERO : PageKind.RAW, contents));
      }
      List<Expected> after = new ArrayList<>();
      PageRewriter rewriter = batch.rewrite();
      for (Expected page : before) {
        assertThat(rewriter.next()).isTrue();
        assertThat(rewriter.page()).isEqualTo(page.page());
        assertThat(rewriter.kind()).isEqualTo(page.kind());
        assertThat(
                rewriter
                    .slab()
                    .asSlice(rewriter.offset(), rewriter.length())
                    .toArray(ValueLayout.JAVA_BYTE))
            .as("seed %d", seed)
            .isEqualTo(page.contents());
        switch (random.nextInt(4)) {
          case 0 -> {
            rewriter.toZero();
            after.add(new Expected(page.page(), PageKind.ZERO, new byte[0]));
          }
          case 1 -> rewriter.drop();
          case 2 -> {
            if (page.kind() == PageKind.RAW) {
              byte[] encoded = new byte[1 + random.nextInt(PAGE - 1)];
              random.nextBytes(encoded);
              MemorySegment.copy(encoded, 0, delta, ValueLayout.JAVA_BYTE, 0, encoded.length);
              rewriter.toDelta(delta, encoded.length);
              after.add(new Expected(page.page(), PageKind.DELTA, encoded));
            } else {
              after.add(page);
            }
          }
          default -> after.add(page);
        }
      }
      assertThat(rewriter.next()).isFalse();
      assertThat(rewriter.next()).isFalse();
      assertBatch(batch, after, seed);
      batch.release();
    }
  }

  private static void assertBatch(PageBatch batch, List<Expected> pages, int seed) {
    assertThat(batch.size()).as("seed %d", seed).isEqualTo(pages.size());
    long offset = batch.payloadOffset();
    for (int i = 0; i < pages.size(); i++) {
      assertThat(batch.page(i)).as("seed %d", seed).isEqualTo(pages.get(i).page());
      assertThat(batch.kind(i)).as("seed %d", seed).isEqualTo(pages.get(i).kind());
      assertThat(batch.slab().asSlice(offset, batch.length(i)).toArray(ValueLayout.JAVA_BYTE))
          .as("seed %d, page %d", seed, i)
          .isEqualTo(pages.get(i).contents());
      offset += batch.length(i);
    }
    assertThat(batch.payloadBytes()).isEqualTo((int) (offset - batch.payloadOffset()));
    assertThat(batch.storedBytes()).isEqualTo(batch.payloadBytes());
  }

  @Test
  void aDeltaIsShorterThanWhatItReplaces() {
    PageBatch batch = batch();
    append(batch, 0, new byte[PAGE]);
    append(batch, 1, new byte[0]);
    PageRewriter rewriter = batch.rewrite();
    MemorySegment delta = Arena.ofAuto().allocate(PAGE);
    rewriter.next();
    assertThatThrownBy(() -> rewriter.toDelta(delta, PAGE))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> rewriter.toDelta(delta, 0))
        .isInstanceOf(IllegalArgumentException.class);
    rewriter.next();
    assertThatThrownBy(() -> rewriter.toDelta(delta, 1))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void anEmptyBatchHasNoPageToRewrite() {
    PageBatch batch = batch();
    assertThat(batch.rewrite().next()).isFalse();
    assertThat(batch.isEmpty()).isTrue();
  }
}
