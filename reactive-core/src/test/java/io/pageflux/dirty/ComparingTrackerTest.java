package io.pageflux.dirty;

import static io.pageflux.dirty.Trackers.collect;
import static io.pageflux.dirty.Trackers.pages;
import static io.pageflux.dirty.Trackers.startWithAllCopied;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ComparingTrackerTest {

  private static final int PAGE = 4096;

  private static MemorySegment page(int fill) {
    byte[] bytes = new byte[PAGE];
    Arrays.fill(bytes, (byte) fill);
    return MemorySegment.ofArray(bytes);
  }

  private static void put(GuestMemory memory, int block, long offset, int value) {
    memory.block(block).segment().set(ValueLayout.JAVA_BYTE, offset, (byte) value);
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void aPageThatChangedForTheCopyAndChangedBackIsReportedAgain(Trackers kind) {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4 * PAGE).build();
        DirtyTracker tracker = kind.on(memory)) {
      MemorySegment ram = memory.block(0).segment();
      startWithAllCopied(tracker, memory);
      ram.asSlice(PAGE, PAGE).copyFrom(page('A'));
      assertThat(pages(collect(tracker, memory), 0)).as("collect sees A").containsExactly(1L);
      ram.asSlice(PAGE, PAGE).copyFrom(page('B'));
      tracker.copied(0, 1, ram, PAGE); // The destination gets B.
      ram.asSlice(PAGE, PAGE).copyFrom(page('A'));

      assertThat(pages(collect(tracker, memory), 0))
          .as("the page is A, the destination has B")
          .containsExactly(1L);
      tracker.copied(0, 1, ram, PAGE);
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void theReferenceIsTheCopyAndNotTheMemory(Trackers kind) {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4 * PAGE).build();
        DirtyTracker tracker = kind.on(memory)) {
      startWithAllCopied(tracker, memory);
      tracker.copied(0, 2, page('X'), 0);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(2L);
      memory.block(0).segment().asSlice(2 * PAGE, PAGE).copyFrom(page('X'));
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void aPageIsReportedUntilItWasCopied(Trackers kind) {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4 * PAGE).build();
        DirtyTracker tracker = kind.on(memory)) {
      tracker.start();
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(0L, 1L, 2L, 3L);
      tracker.copied(0, 0, page(0), 0);
      tracker.copied(0, 3, page(0), 0);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(1L, 2L);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(1L, 2L);
      tracker.start();
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(0L, 1L, 2L, 3L);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void everyByteOfEveryPageSizeCounts(Trackers kind) {
    try (GuestMemory memory =
            GuestMemory.builder()
                .pageSize(512)
                .anonymous("small", 512 * 5)
                .pageSize(64 << 10)
                .memfd("large", 4 * 64 << 10)
                .build();
        DirtyTracker tracker = kind.on(memory)) {
      startWithAllCopied(tracker, memory);
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
      for (int offset : new int[] {0, 1, 7, 255, 510, 511}) {
        put(memory, 0, 3 * 512 + offset, 1);
        MemoryPages found = collect(tracker, memory);
        assertThat(pages(found, 0)).as("offset %d", offset).containsExactly(3L);
        assertThat(pages(found, 1)).isEmpty();
        tracker.copied(0, 3, memory.block(0).segment(), 3 * 512);
      }
      for (int offset : new int[] {0, 4096, (64 << 10) - 1}) {
        put(memory, 1, 2 * (64 << 10) + offset, 1);
        MemoryPages found = collect(tracker, memory);
        assertThat(pages(found, 0)).isEmpty();
        assertThat(pages(found, 1)).as("offset %d", offset).containsExactly(2L);
        tracker.copied(1, 2, memory.block(1).segment(), 2 * (64 << 10));
      }
      assertThat(collect(tracker, memory).isEmpty()).isTrue();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void pagesBeyond2GiBAreComparedAndPagesInTheSetAreLeftAlone(Trackers kind) {
    long size = 4L << 30;
    long[] far = {(2L << 18) - 1, 2L << 18, 3L << 18, (4L << 18) - 1};
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", size).build();
        DirtyTracker tracker = kind.on(memory)) {
      tracker.start();
      MemoryPages allButFar = new MemoryPages(memory.layout());
      allButFar.addAll();
      for (long page : far) {
        tracker.copied(0, page, page(0), 0);
        allButFar.of(0).remove(page);
      }
      assertThat(tracker.collect(allButFar)).isZero();
      for (long page : far) {
        put(memory, 0, page * PAGE + 99, 1);
        assertThat(tracker.collect(allButFar)).isEqualTo(1);
        assertThat(allButFar.of(0).contains(page)).isTrue();
      }
      assertThat(tracker.collect(allButFar)).isZero();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void writesToTheFileFromOutsideAreSeen(Trackers kind, @TempDir Path dir) throws Exception {
    Path file = dir.resolve("ram");
    try (GuestMemory memory = GuestMemory.builder().file("ram", file, 8 * PAGE).build();
        GuestMemory elsewhere = GuestMemory.builder().file("ram", file).build();
        FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
        DirtyTracker tracker = kind.on(memory)) {
      startWithAllCopied(tracker, memory);
      put(elsewhere, 0, 5 * PAGE, 1);
      channel.write(ByteBuffer.wrap(new byte[] {1}), 7 * PAGE + 1);
      assertThat(pages(collect(tracker, memory), 0)).containsExactly(5L, 7L);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  void aFileThatWasCutShortIsAnErrorThatSaysSo(Trackers kind, @TempDir Path dir) throws Exception {
    Path file = dir.resolve("ram");
    long size = 64 * PAGE;
    // Also the very last page, after which no other access would show the fault.
    for (long left : List.of(size - PAGE, 10L * PAGE, 0L)) {
      try (GuestMemory memory = GuestMemory.builder().file("ram", file, size).build();
          FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
          DirtyTracker tracker = kind.on(memory)) {
        startWithAllCopied(tracker, memory);
        channel.truncate(left);
        assertThatThrownBy(() -> collect(tracker, memory))
            .isInstanceOfSatisfying(
                MigrationException.class,
                e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRACKING))
            .hasMessageContaining("RAM block 'ram'")
            .hasMessageContaining("cut short");
        channel.write(ByteBuffer.wrap(new byte[1]), size - 1);
        startWithAllCopied(tracker, memory);
        assertThat(collect(tracker, memory).isEmpty()).isTrue();
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"COMPARING_HASH", "COMPARING_SHADOW"})
  @SuppressWarnings("try") // To close it before its time, and again, is what is tested.
  void closedItSaysSoAndCanBeStartedAgain(Trackers kind) {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4 * PAGE).build();
        DirtyTracker tracker = kind.on(memory)) {
      startWithAllCopied(tracker, memory);
      tracker.close();
      tracker.close();
      assertThatThrownBy(() -> collect(tracker, memory))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("start()");
      assertThatThrownBy(() -> tracker.copied(0, 0, page(0), 0))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("start()");
      tracker.start();
      assertThat(collect(tracker, memory).cardinality()).isEqualTo(4);
      memory.close();
      assertThatThrownBy(() -> collect(tracker, memory))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("has been closed");
    }
  }
}
