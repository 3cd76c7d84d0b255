package io.pageflux.dirty;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.internal.ErrnoException;
import io.pageflux.internal.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PagemapScanTest {

  private final long page = Linux.pageSizeBytes();

  @BeforeEach
  void needsUserfaultfd() {
    Trackers.assumeUserfaultfd();
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1",
    "1, 7",
    "3, 10",
    "511, 512",
    "512, 512",
    "512, 1024",
    "513, 1024",
    "1024, 512",
    "1024, 1024",
    "1025, 1024",
    "2048, 1024",
    "3000, 1024",
    "3000, 4096",
    "4096, 1024"
  })
  void everyRegionIsVisitedOnceHoweverManyFitIntoTheBuffer(int dirty, int capacity) {
    long pages = 2L * 8192;
    try (Arena arena = Arena.ofConfined();
        Userfaultfd userfaultfd = Userfaultfd.open();
        PagemapScan scan = new PagemapScan(capacity)) {
      MemorySegment memory = Linux.mapAnonymous(pages * page, arena);
      long start = memory.address();
      long end = start + memory.byteSize();
      userfaultfd.register(start, memory.byteSize(), "memory");
      scan.protect(start, end);
      List<Long> expected = new ArrayList<>();
      for (int i = 0; i < dirty; i++) {
        memory.set(ValueLayout.JAVA_BYTE, 2L * i * page + i % page, (byte) 1);
        expected.add(2L * i);
      }

      List<Long> visited = new ArrayList<>();
      long regions =
          scan.visitWritten(
              start,
              end,
              (from, to) -> {
                assertThat(to - from).isEqualTo(page);
                visited.add((from - start) / page);
                return 1;
              });

      assertThat(visited).isEqualTo(expected);
      assertThat(regions).isEqualTo(dirty);
      assertThat(scan.visitWritten(start, end, (from, to) -> 1)).isZero();
    }
  }

  @Test
  void aStaleWalkEndDoesNotLeadBackToWhatHasBeenReported() {
    // The buffer is not full: done, whatever walk_end says.
    assertThat(PagemapScan.resumeAt(1000, 1024, 0x2000_0000L, 0x4000_0000L, 0x5000_0000L))
        .isEqualTo(0x5000_0000L);
    // Full, and walk_end is left over from a batch before.
    assertThat(PagemapScan.resumeAt(1024, 1024, 0x2000_0000L, 0x4000_0000L, 0x5000_0000L))
        .isEqualTo(0x4000_0000L);
    // Full, and clean pages behind the last region are done too.
    assertThat(PagemapScan.resumeAt(1024, 1024, 0x4800_0000L, 0x4000_0000L, 0x5000_0000L))
        .isEqualTo(0x4800_0000L);
  }

  @Test
  void aRangeThatNobodyWatchesIsAnErrorAndDoesNotLookClean() {
    try (Arena arena = Arena.ofConfined();
        PagemapScan scan = new PagemapScan(16)) {
      MemorySegment memory = Linux.mapAnonymous(4 * page, arena);
      memory.fill((byte) 1);
      long start = memory.address();
      assertThatThrownBy(() -> scan.visitWritten(start, start + 4 * page, (from, to) -> 1))
          .isInstanceOf(ErrnoException.class)
          .hasMessageContaining("EPERM");
    }
  }
}
