package io.pageflux.prediction;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.pageflux.migration.CompressionSpec;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class CodecSpeedTest {

  private static PageProbe.Count batch(
      long pages, long zero, long encodeMicros, long compressMicros) {
    PageProbe.Count count = new PageProbe.Count();
    count.pages = pages;
    count.zero = zero;
    count.encodeNanos = encodeMicros * 1000;
    count.compressNanos = compressMicros * 1000;
    return count;
  }

  @Test
  void batchesThatWereHeldUpSayNothingOfTheOthers() {
    List<PageProbe.Count> batches = new ArrayList<>();
    batches.add(batch(64, 0, 5000, 20_000)); // loads code
    for (int i = 0; i < 9; i++) {
      batches.add(batch(64, 32, 64, 320)); // 2 and 10 us for each page with contents
    }
    batches.add(batch(64, 0, 64, 30_000)); // another program has the processor
    batches.add(batch(64, 64, 40, 0)); // no contents
    assertThat(CodecSpeed.pagesPerSecond(batches, null)).isCloseTo(500_000, within(1.0));
    assertThat(CodecSpeed.pagesPerSecond(batches, new CompressionSpec(1, 1)))
        .isCloseTo(100_000, within(1.0));
  }

  @Test
  void aGuestOfZerosIsReadAtAnySpeed() {
    List<PageProbe.Count> zeros = List.of(batch(64, 64, 40, 0));
    assertThat(CodecSpeed.pagesPerSecond(zeros, new CompressionSpec(1, 1))).isEqualTo(1e9);
  }
}
