package io.pageflux.dirty;

import static io.pageflux.dirty.Trackers.collect;
import static io.pageflux.dirty.Trackers.pages;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class UserfaultfdTrackerTest {

  private static final int MADV_HUGEPAGE = 14;

  @BeforeEach
  void needsUserfaultfd() {
    Trackers.assumeUserfaultfd();
  }

  private static void touch(GuestMemory memory, int block, long offset) {
    memory.block(block).segment().set(ValueLayout.JAVA_BYTE, offset, (byte) 1);
  }

  private static List<Long> range(long from, long to) {
    return LongStream.range(from, to).boxed().toList();
  }

  @Test
  void exactlyTheWrittenPagesAreReportedAndOnce() {
    try (GuestMemory memory =
            GuestMemory.builder().anonymous("ram", 1 << 20).memfd("video", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      memory.block(0).segment().fill((byte) 7);
      tracker.start();
      assertThat(collect(tracker, memory).isEmpty()).isTrue();

      touch(memory, 0, 0);
      touch(memory, 0, 5 * 4096 + 4095);
      touch(memory, 1, (1 << 20) - 1);
      MemoryPages found = new MemoryPages(memory.layout());
      found.of(0).add(5);
      assertThat(tracker.collect(found)).as("pages not in the set before").isEqualTo(2);
      assertThat(pages(found, 0)).containsExactly(0L, 5L);
      assertThat(pages(found, 1)).containsExactly(255L);

      assertThat(collect(tracker, memory).isEmpty()).isTrue();
      touch(memory, 0, 5 * 4096);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(5L);
    }
  }

  @Test
  void aReadDoesNotMakeAPageDirty() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      tracker.start();
      assertThat(memory.block(0).segment().mismatch(memory.block(0).segment())).isEqualTo(-1);
      assertThat(memory.block(0).segment().get(ValueLayout.JAVA_BYTE, 8192)).isZero();
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
    }
  }

  @Test
  void aWriteByTheKernelIsSeen() throws Exception {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory);
        FileChannel zeros = FileChannel.open(Path.of("/dev/zero"))) {
      tracker.start();
      zeros.read(memory.block(0).segment().asSlice(4 * 4096, 2 * 4096).asByteBuffer());
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(4L, 5L);
    }
  }

  @Test
  void guestPagesLargerThanTheMachinesAreReportedOnceEach() {
    try (GuestMemory memory =
            GuestMemory.builder().pageSize(64 << 10).anonymous("ram", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      tracker.start();
      touch(memory, 0, (64 << 10) - 1);
      touch(memory, 0, 3 * (64 << 10));
      touch(memory, 0, 3 * (64 << 10) + 8192);
      MemoryPages found = new MemoryPages(memory.layout());
      assertThat(tracker.collect(found)).isEqualTo(2);
      assertThat(pages(found, 0)).containsExactly(0L, 3L);
    }
  }

  @Test
  void guestPagesSmallerThanTheMachinesAreReportedWithTheirNeighbours() {
    int perMachinePage = Linux.pageSizeBytes() / 512;
    int bytes = 3 * Linux.pageSizeBytes() + 3 * 512;
    try (GuestMemory memory =
            GuestMemory.builder()
                .pageSize(512)
                .anonymous("ram", bytes)
                .memfd("video", bytes)
                .build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      for (int block = 0; block < 2; block++) {
        tracker.start();
        touch(memory, block, Linux.pageSizeBytes() + 700);
        assertThat(pages(collect(tracker, memory), block))
            .isEqualTo(range(perMachinePage, 2L * perMachinePage));
        // The last machine page is only partly the block's.
        touch(memory, block, bytes - 1);
        assertThat(pages(collect(tracker, memory), block))
            .isEqualTo(range(3L * perMachinePage, 3L * perMachinePage + 3));
      }
    }
  }

  @Test
  void everySecondPageOf64MiBIsMoreThanTheBufferHoldsAndIsReportedExactly() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 64 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      tracker.start();
      PageSet expected = new PageSet(memory.block(0).pageCount());
      for (long page = 1; page < memory.block(0).pageCount(); page += 2) {
        touch(memory, 0, page * 4096);
        expected.add(page);
      }
      MemoryPages found = new MemoryPages(memory.layout());
      assertThat(tracker.collect(found)).isEqualTo(expected.cardinality());
      assertThat(found.of(0).addAll(expected)).isZero();
      assertThat(found.cardinality()).isEqualTo(expected.cardinality());
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
    }
  }

  @Test
  void anyPatternIsReportedExactlyWithABufferOfAnySize() {
    long seed = 20260;
    Random random = new Random(seed);
    for (int capacity : new int[] {1, 2, 7, 512, 513}) {
      try (GuestMemory memory =
              GuestMemory.builder().anonymous("ram", 8 << 20).memfd("video", 4 << 20).build();
          DirtyTracker tracker = new UserfaultfdTracker(memory, capacity)) {
        tracker.start();
        for (int round = 0; round < 5; round++) {
          List<TreeSet<Long>> expected = List.of(new TreeSet<>(), new TreeSet<>());
          int writes = random.nextInt(3000);
          for (int i = 0; i < writes; i++) {
            int block = random.nextInt(2);
            long page = random.nextLong(memory.block(block).pageCount());
            touch(memory, block, page * 4096 + random.nextInt(4096));
            expected.get(block).add(page);
          }
          MemoryPages found = collect(tracker, memory);
          for (int block = 0; block < 2; block++) {
            assertThat(pages(found, block))
                .as("seed %d, capacity %d, round %d, block %d", seed, capacity, round, block)
                .isEqualTo(List.copyOf(expected.get(block)));
          }
        }
      }
    }
  }

  @Test
  void aHugePageIsReportedByItsParts() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 16 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      MemorySegment ram = memory.block(0).segment();
      Linux.madvise(ram, MADV_HUGEPAGE);
      ram.fill((byte) 1);
      tracker.start();
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
      for (long page : new long[] {3, 1000, 1002, 4095}) {
        touch(memory, 0, page * 4096);
      }
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(3L, 1000L, 1002L, 4095L);
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
    }
  }

  @Test
  void aSparseBlockOfMoreThan2GiBIsTracked() {
    long size = 4L << 30;
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", size).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      touch(memory, 0, 123 * 4096);
      tracker.start();
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
      touch(memory, 0, 0);
      touch(memory, 0, (2L << 30) - 1);
      touch(memory, 0, 2L << 30);
      touch(memory, 0, (3L << 30) + 5);
      touch(memory, 0, size - 1);
      assertThat(pages(collect(tracker, memory), 0))
          .containsExactly(0L, (2L << 18) - 1, 2L << 18, 3L << 18, (4L << 18) - 1);
    }
  }

  @Test
  void droppedPagesOfPrivateMemoryAreReportedBecauseTheyAreZeroNow() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      memory.block(0).segment().fill((byte) 1);
      tracker.start();
      Linux.madvise(memory.block(0).segment().asSlice(8 * 4096, 2 * 4096), 4 /* MADV_DONTNEED */);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(8L, 9L);
    }
  }

  @Test
  void startAgainForgetsWhatWasWrittenAndWatchesEveryPageAnew() {
    try (GuestMemory memory =
            GuestMemory.builder().anonymous("ram", 1 << 20).memfd("video", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      tracker.start();
      touch(memory, 0, 4096);
      touch(memory, 1, 8192);
      tracker.start();
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
      touch(memory, 0, 4096);
      touch(memory, 1, 8192);
      MemoryPages found = collect(tracker, memory);
      assertThat(pages(found, 0)).containsExactly(1L);
      assertThat(pages(found, 1)).containsExactly(2L);
    }
  }

  @Test
  @SuppressWarnings("try") // To close it before its time, and again, is what is tested.
  void closedItSaysSoAndCanBeStartedAgain() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      assertNotStarted(tracker, memory);
      tracker.start();
      tracker.close();
      tracker.close();
      assertNotStarted(tracker, memory);
      touch(memory, 0, 0);
      tracker.start();
      touch(memory, 0, 4096);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(1L);
    }
  }

  private static void assertNotStarted(DirtyTracker tracker, GuestMemory memory) {
    assertThatThrownBy(() -> collect(tracker, memory))
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRACKING))
        .hasMessageContaining("not started")
        .hasMessageContaining("start()");
  }

  @Test
  @SuppressWarnings("try") // To close it before its time, and again, is what is tested.
  void aMemoryIsTrackedByOneAtATime() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        DirtyTracker first = DirtyTrackers.userfaultfd(memory);
        DirtyTracker second = DirtyTrackers.userfaultfd(memory)) {
      first.start();
      assertThatThrownBy(second::start)
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("RAM block 'ram'")
          .hasMessageContaining("close the other tracker");
      // The failed start took nothing from the first.
      touch(memory, 0, 4096);
      assertThat(pages(collect(first, memory), 0)).containsExactly(1L);
      first.close();
      second.start();
      touch(memory, 0, 8192);
      assertThat(pages(collect(second, memory), 0)).containsExactly(2L);
    }
  }

  @Test
  @SuppressWarnings("try") // To close it before its time, and again, is what is tested.
  void noDescriptorIsLeftBehind() throws Exception {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory);
        DirtyTracker second = DirtyTrackers.userfaultfd(memory)) {
      tracker.start();
      tracker.start();
      assertThatThrownBy(second::start).isInstanceOf(MigrationException.class);
      assertThat(descriptors()).containsExactlyInAnyOrder("userfaultfd", "pagemap");
      tracker.close();
      assertThat(descriptors()).isEmpty();
    }
  }

  private static List<String> descriptors() throws IOException {
    List<String> found = new ArrayList<>();
    try (DirectoryStream<Path> open = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
      for (Path fd : open) {
        if (!Files.isSymbolicLink(fd)) {
          continue; // That of the listing itself.
        }
        String target = Files.readSymbolicLink(fd).toString();
        for (String kind : List.of("userfaultfd", "pagemap")) {
          if (target.contains(kind)) {
            found.add(kind);
          }
        }
      }
    }
    return found;
  }

  @Test
  void aClosedMemoryIsAnErrorAndDoesNotLookClean() {
    GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
    DirtyTracker tracker = DirtyTrackers.userfaultfd(memory);
    tracker.start();
    memory.close();
    assertThatThrownBy(() -> collect(tracker, memory))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("has been closed");
    assertThatThrownBy(tracker::start)
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("has been closed");
    tracker.close();
  }

  @Test
  void aSetOfOtherPagesIsRefused() {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 1 << 20).build();
        GuestMemory other = GuestMemory.builder().anonymous("ram", 2 << 20).build();
        DirtyTracker tracker = DirtyTrackers.userfaultfd(memory)) {
      tracker.start();
      assertThatThrownBy(() -> tracker.collect(new MemoryPages(other.layout())))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
