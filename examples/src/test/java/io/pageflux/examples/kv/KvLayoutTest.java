package io.pageflux.examples.kv;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.BitSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class KvLayoutTest {

  @ParameterizedTest
  @ValueSource(longs = {64 << 10, 100_000, 1 << 20, 20 * (64 << 10), (64 << 20) + 4096})
  void everyRecordHasAPlaceOfItsOwn(long size) {
    KvLayout layout = new KvLayout(size);
    BitSet taken = new BitSet();
    long last = -1;
    for (long record = 0; record < layout.recordCount(); record++) {
      long at = layout.offsetOf(record);
      assertThat(at).isGreaterThan(last).isLessThanOrEqualTo(size - KvRecord.BYTES);
      assertThat(at % KvRecord.BYTES).isZero();
      assertThat(KvLayout.isUsed(at / KvLayout.CHUNK_BYTES)).isTrue();
      taken.set((int) (at / KvRecord.BYTES));
      last = at;
    }
    assertThat(taken.cardinality()).isEqualTo(layout.recordCount()).isPositive();
  }

  @Test
  void aboutAThirdIsNeverWritten() {
    KvLayout layout = new KvLayout(1L << 30);
    assertThat((double) layout.recordCount() * KvRecord.BYTES / layout.sizeBytes())
        .isCloseTo(0.65, within(0.01));
  }

  @ParameterizedTest
  @ValueSource(longs = {64 << 10, 1 << 20, 64 << 20, 7L << 32})
  void regionsCoverTheRecordsWithoutGapsOrOverlap(long size) {
    KvLayout layout = new KvLayout(size);
    assertThat(layout.firstOfRegion(0)).isZero();
    assertThat(layout.firstOfRegion(KvLayout.REGIONS)).isEqualTo(layout.recordCount());
    for (int region = 0; region < KvLayout.REGIONS; region++) {
      long first = layout.firstOfRegion(region);
      long end = layout.firstOfRegion(region + 1);
      if (first < end) {
        assertThat(layout.regionOf(first)).isEqualTo(region);
        assertThat(layout.regionOf(end - 1)).isEqualTo(region);
      }
    }
  }

  @Test
  void aMemoryThatIsTooSmallIsRefused() {
    assertThatThrownBy(() -> new KvLayout(4096))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("65536 bytes at least");
  }
}
