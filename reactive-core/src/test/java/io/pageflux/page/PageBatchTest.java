package io.pageflux.page;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.RamBlockLayout;
import java.util.Objects;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PageBatchTest {

  private static final int PAGE = 4096;
  private static final RamBlockLayout RAM = new RamBlockLayout("ram", 100 * PAGE, PAGE);

  private final BatchGeometry geometry = new BatchGeometry(6, 4 * PAGE);
  private final SlabPool pool = new SlabPool(1, geometry);
  private final PageBatch batch =
      new PageBatch(
          0, RAM, Objects.requireNonNull(pool.tryAcquire()), geometry.headroomBytes(), geometry);

  @AfterEach
  void close() {
    pool.close();
  }

  @Test
  void pagesAndTheirContentsAddUp() {
    batch.append(3, PageKind.RAW, PAGE);
    batch.append(4, PageKind.ZERO, 0);
    batch.append(9, PageKind.DELTA, 17);
    assertThat(batch.size()).isEqualTo(3);
    assertThat(batch.payloadBytes()).isEqualTo(PAGE + 17);
    assertThat(batch.storedBytes()).isEqualTo(PAGE + 17);
    assertThat(batch.stored().byteSize()).isEqualTo(PAGE + 17);
    assertThat(batch.count(PageKind.ZERO)).isEqualTo(1);
    assertThat(batch.pages())
        .containsExactly(
            new PageBatch.Page("ram", 3, PageKind.RAW, PAGE),
            new PageBatch.Page("ram", 4, PageKind.ZERO, 0),
            new PageBatch.Page("ram", 9, PageKind.DELTA, 17));
    assertThatThrownBy(() -> batch.page(3)).isInstanceOf(IndexOutOfBoundsException.class);
  }

  @Test
  void pagesThatDoNotBelongAreRefused() {
    batch.append(3, PageKind.RAW, PAGE);
    refuse(3, PageKind.RAW, PAGE);
    refuse(2, PageKind.RAW, PAGE);
    refuse(-1, PageKind.RAW, PAGE);
    refuse(100, PageKind.RAW, PAGE);
    refuse(4, PageKind.RAW, PAGE - 1);
    refuse(4, PageKind.ZERO, 1);
    refuse(4, PageKind.DELTA, 0);
    refuse(4, PageKind.DELTA, PAGE + 1);
    refuse(4, PageKind.DELTA, -1);
    assertThat(batch.size()).isEqualTo(1);
  }

  @Test
  void aDeltaMayBeAsLongAsItsPage() {
    batch.append(4, PageKind.DELTA, PAGE);
    assertThat(batch.length(0)).isEqualTo(PAGE);
  }

  private void refuse(long page, PageKind kind, int length) {
    assertThatThrownBy(() -> batch.append(page, kind, length))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aFullBatchTakesNoMore() {
    for (long page = 0; page < 4; page++) {
      assertThat(batch.hasRoom()).isTrue();
      batch.append(page, PageKind.RAW, PAGE);
    }
    assertThat(batch.hasRoom()).isFalse();
    refuse(4, PageKind.DELTA, 1);
    batch.append(4, PageKind.ZERO, 0);
    batch.append(5, PageKind.ZERO, 0);
    refuse(6, PageKind.ZERO, 0);
  }

  @Test
  void aCompressedBatchIsNotChanged() {
    batch.append(0, PageKind.RAW, PAGE);
    assertThatThrownBy(() -> batch.markCompressed(0)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> batch.markCompressed(4 * PAGE + 1))
        .isInstanceOf(IllegalArgumentException.class);
    batch.markCompressed(100);
    assertThat(batch.storedBytes()).isEqualTo(100);
    assertThat(batch.payloadBytes()).isEqualTo(PAGE);
    assertThatThrownBy(batch::rewrite).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> batch.append(1, PageKind.ZERO, 0))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> batch.replace(0, PageKind.ZERO, 0))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> batch.markCompressed(50)).isInstanceOf(IllegalStateException.class);
    batch.markDecompressed();
    assertThat(batch.storedBytes()).isEqualTo(PAGE);
    assertThatThrownBy(batch::markDecompressed).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void replacedContentsMustFitTheBatch() {
    for (long page = 0; page < 4; page++) {
      batch.append(page, PageKind.DELTA, PAGE - 1);
    }
    batch.append(4, PageKind.DELTA, 3);
    batch.replace(3, PageKind.RAW, PAGE);
    assertThat(batch.kind(3)).isEqualTo(PageKind.RAW);
    assertThat(batch.payloadBytes()).isEqualTo(4 * PAGE);
    assertThat(batch.storedBytes()).isEqualTo(4 * PAGE);
    assertThatThrownBy(() -> batch.replace(2, PageKind.RAW, PAGE))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> batch.replace(2, PageKind.RAW, PAGE - 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThat(batch.kind(2)).isEqualTo(PageKind.DELTA);
  }

  @Test
  void releasingGivesTheSlabBackOnce() {
    assertThat(pool.outstanding()).isEqualTo(1);
    batch.release();
    batch.release();
    assertThat(batch.isReleased()).isTrue();
    assertThat(pool.outstanding()).isZero();
    Lease next = Objects.requireNonNull(pool.tryAcquire());
    batch.release();
    assertThat(pool.outstanding()).isEqualTo(1);
    assertThat(next.isReleased()).isFalse();
  }
}
