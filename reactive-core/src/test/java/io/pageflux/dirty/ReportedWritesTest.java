package io.pageflux.dirty;

import static io.pageflux.dirty.Trackers.collect;
import static io.pageflux.dirty.Trackers.pages;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ReportedWritesTest {

  private static final int PAGE = 4096;

  private final GuestMemory memory =
      GuestMemory.builder()
          .anonymous("ram", 1000 * PAGE)
          .pageSize(512)
          .anonymous("small", 512 * 10)
          .build();
  private final ReportedWrites tracker = new ReportedWrites(memory);

  @AfterEach
  void close() {
    tracker.close();
    memory.close();
  }

  @Test
  void everyWayToWriteWritesAndReports() {
    MemorySegment ram = memory.block(0).segment();
    tracker.start();
    tracker.putByte(0, 1, (byte) 5);
    tracker.putInt(0, 2 * PAGE - 2, 0x01020304);
    tracker.putLong(0, 5 * PAGE + 3, -2);
    tracker.copyFrom(0, 8 * PAGE - 1, MemorySegment.ofArray(new byte[] {1, 2, 3}));
    tracker.fill(0, 20 * PAGE, 2 * PAGE, (byte) 9);
    tracker.markWritten(1, 511, 2);

    MemoryPages found = new MemoryPages(memory.layout());
    assertThat(tracker.collect(found)).isEqualTo(10);
    assertThat(pages(found, 0)).containsExactly(0L, 1L, 2L, 5L, 7L, 8L, 20L, 21L);
    assertThat(pages(found, 1)).containsExactly(0L, 1L);
    assertThat(collect(tracker, memory).isEmpty()).isTrue();

    assertThat(ram.get(ValueLayout.JAVA_BYTE, 1)).isEqualTo((byte) 5);
    assertThat(ram.get(ValueLayout.JAVA_INT_UNALIGNED, 2 * PAGE - 2)).isEqualTo(0x01020304);
    assertThat(ram.get(ValueLayout.JAVA_LONG_UNALIGNED, 5 * PAGE + 3)).isEqualTo(-2);
    assertThat(ram.asSlice(8 * PAGE - 1, 3).toArray(ValueLayout.JAVA_BYTE))
        .containsExactly(1, 2, 3);
    assertThat(ram.get(ValueLayout.JAVA_BYTE, 22 * PAGE - 1)).isEqualTo((byte) 9);
    assertThat(ram.get(ValueLayout.JAVA_BYTE, 22 * PAGE)).isZero();
  }

  @Test
  void anyRangesAreReportedExactly() {
    long seed = 77;
    Random random = new Random(seed);
    for (int round = 0; round < 300; round++) {
      TreeSet<Long> expected = new TreeSet<>();
      for (int i = random.nextInt(6); i >= 0; i--) {
        long length = random.nextInt(round % 2 == 0 ? 3 * PAGE : 300 * PAGE);
        long offset = random.nextLong(1000 * PAGE - length + 1);
        tracker.markWritten(0, offset, length);
        if (length > 0) {
          LongStream.rangeClosed(offset / PAGE, (offset + length - 1) / PAGE)
              .forEach(expected::add);
        }
      }
      assertThat(pages(collect(tracker, memory), 0))
          .as("seed %d, round %d", seed, round)
          .isEqualTo(List.copyOf(expected));
    }
  }

  @Test
  void reportsAcrossSummaryWordsOfAVastBlockAreAllFound() {
    try (GuestMemory vast = GuestMemory.builder().anonymous("ram", 4L << 30).build();
        ReportedWrites writes = new ReportedWrites(vast)) {
      long size = vast.sizeBytes();
      writes.markWritten(0, 0, size);
      assertThat(collect(writes, vast).cardinality()).isEqualTo(size / PAGE);
      assertThat(collect(writes, vast).isEmpty()).isTrue();
      // 4,096 pages share a summary word.
      writes.markWritten(0, 4095L * PAGE, 2 * PAGE);
      writes.markWritten(0, (2L << 30) - 1, 2);
      writes.markWritten(0, size - 1, 1);
      assertThat(pages(collect(writes, vast), 0))
          .containsExactly(4095L, 4096L, (2L << 18) - 1, 2L << 18, (4L << 18) - 1);
    }
  }

  @Test
  void whatDoesNotFitIsRefusedBeforeAnythingIsWritten() {
    assertThatThrownBy(() -> tracker.putLong(0, 1000 * PAGE - 7, -1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(
            () -> tracker.copyFrom(0, 1000 * PAGE - 1, MemorySegment.ofArray(new byte[2])))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> tracker.markWritten(0, -1, 1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> tracker.markWritten(0, 1, Long.MAX_VALUE))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> tracker.markWritten(2, 0, 1))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThat(memory.block(0).segment().get(ValueLayout.JAVA_BYTE, 1000 * PAGE - 1)).isZero();
    assertThat(collect(tracker, memory).isEmpty()).isTrue();
  }

  @Test
  void startForgetsAndAClosedTrackerStillTakesReports() {
    tracker.markWritten(0, 0, 10 * PAGE);
    tracker.start();
    assertThat(collect(tracker, memory).isEmpty()).isTrue();
    tracker.close();
    tracker.putByte(0, 3 * PAGE, (byte) 1);
    tracker.start();
    assertThat(collect(tracker, memory).isEmpty()).isTrue();
    tracker.putByte(0, 4 * PAGE, (byte) 1);
    assertThat(pages(collect(tracker, memory), 0)).containsExactly(4L);
  }
}
