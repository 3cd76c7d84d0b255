package io.pageflux.prediction;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.pageflux.migration.CompressionSpec;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class CodecTimesTest {

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
    CodecTimes plain = CodecTimes.of(batches, null, 8);
    assertThat(plain.pagesPerSecond(false)).isCloseTo(500_000, within(1.0));
    CodecTimes compressing = CodecTimes.of(batches, new CompressionSpec(1, 1), 8);
    assertThat(compressing.pagesPerSecond(false)).isCloseTo(100_000, within(1.0));
  }

  @Test
  void aGuestOfZerosIsReadAtAnySpeed() {
    List<PageProbe.Count> zeros = List.of(batch(64, 64, 40, 0));
    CodecTimes times = CodecTimes.of(zeros, new CompressionSpec(1, 1), 1);
    assertThat(times.pagesPerSecond(true)).isEqualTo(1e9);
  }

  @Test
  void noThreadPassesMoreThanItHasTimeFor() {
    assertThat(new CodecTimes(5000, 0, 0, 1, 8).pagesPerSecond(true)).isEqualTo(200_000);
    assertThat(new CodecTimes(1000, 8000, 0, 2, 8).pagesPerSecond(true)).isEqualTo(250_000);
    assertThat(new CodecTimes(3000, 8000, 0, 4, 8).pagesPerSecond(true))
        .isCloseTo(1e9 / 3000, within(1.0));
  }

  @Test
  void allThreadsTogetherPassNoMoreThanTheProcessorsHave() {
    CodecTimes two = new CodecTimes(1000, 8000, 3000, 2, 2);
    assertThat(two.pagesPerSecond(false)).isCloseTo(2e9 / 9000, within(1.0));
    assertThat(two.pagesPerSecond(true)).isCloseTo(2e9 / 12_000, within(1.0));
    assertThat(new CodecTimes(1000, 8000, 3000, 2, 1.5).pagesPerSecond(true)).isEqualTo(125_000);
  }
}
