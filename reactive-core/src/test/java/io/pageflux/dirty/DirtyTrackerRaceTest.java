package io.pageflux.dirty;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The invariant that all depends on: threads write while pages are collected and copied, and when
 * they have stopped and one more round is done, the copy is the memory.
 */
class DirtyTrackerRaceTest {

  private static final int REPETITIONS = 200;
  private static final int ROUNDS_UNDER_WRITES = 3;
  private static final int WRITERS = 3;
  private static final int NARROW_WRITES = 1_000_000;
  private static final long SEED = 0x5eed;

  @ParameterizedTest
  @EnumSource(Trackers.class)
  void noWriteIsLostHoweverItRacesWithTheRounds(Trackers kind) throws Exception {
    try (GuestMemory source = memory();
        GuestMemory destination = memory();
        DirtyTracker tracker = kind.on(source)) {
      for (int repetition = 0; repetition < REPETITIONS; repetition++) {
        migrate(tracker, source, destination, SEED + repetition);
        for (RamBlock block : source.blocks()) {
          long mismatch = block.segment().mismatch(destination.block(block.index()).segment());
          assertThat(mismatch)
              .as(
                  "%s, seed %d: first byte that differs in %s",
                  tracker.name(), SEED + repetition, block)
              .isEqualTo(-1);
        }
      }
    }
  }

  private static GuestMemory memory() {
    return GuestMemory.builder()
        .anonymous("ram", 2 << 20)
        .pageSize(512)
        .anonymous("small", 64 << 10)
        .pageSize(64 << 10)
        .memfd("video", 1 << 20)
        .build();
  }

  private static void migrate(
      DirtyTracker tracker, GuestMemory source, GuestMemory destination, long seed)
      throws InterruptedException {
    AtomicBoolean running = new AtomicBoolean(true);
    CountDownLatch writing = new CountDownLatch(WRITERS);
    List<Thread> writers = new ArrayList<>();
    Trackers.Writer writer = Trackers.writer(tracker, source);
    for (int i = 0; i < WRITERS; i++) {
      SplittableRandom random = new SplittableRandom(seed * WRITERS + i);
      writers.add(
          Thread.ofPlatform()
              .start(
                  () -> {
                    write(source, writer, random);
                    writing.countDown();
                    while (running.get()) {
                      write(source, writer, random);
                    }
                  }));
    }
    writing.await();

    tracker.start();
    MemoryPages pages = new MemoryPages(source.layout());
    pages.addAll();
    Trackers.copy(tracker, source, pages, destination);
    for (int round = 0; round < ROUNDS_UNDER_WRITES; round++) {
      pages.clear();
      tracker.collect(pages);
      Trackers.copy(tracker, source, pages, destination);
    }
    running.set(false);
    for (Thread thread : writers) {
      thread.join();
    }
    pages.clear();
    tracker.collect(pages);
    Trackers.copy(tracker, source, pages, destination);
  }

  /** Some writes anywhere, and more to a few hot words that toggle between two values. */
  private static void write(GuestMemory source, Trackers.Writer writer, SplittableRandom random) {
    for (int i = 0; i < 16; i++) {
      RamBlock block = source.block(random.nextInt(source.blocks().size()));
      long words = block.sizeBytes() / 8;
      if (i == 0) {
        writer.putLong(block.index(), random.nextLong(words) * 8, random.nextLong());
      } else {
        // One word each in pages 0 to 7: what was there before comes back again and again.
        long page = random.nextLong(Math.min(8, block.pageCount()));
        writer.putLong(block.index(), block.pageOffset(page) + 128, random.nextInt(2));
      }
    }
  }

  /**
   * The narrowest race, again and again: a write to a page that is marked already, against the
   * collection and copy of just that page. Whatever was written and reported when a collection
   * begins must be in the copies when it is done.
   */
  @Test
  void aWriteToAPageThatIsMarkedAlreadyIsNotLostToTheCollector() throws Exception {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4096).build();
        ReportedWrites tracker = new ReportedWrites(memory)) {
      AtomicLong reported = new AtomicLong();
      SplittableRandom random = new SplittableRandom(SEED);
      Thread writer =
          Thread.ofPlatform()
              .start(
                  () -> {
                    for (long value = 1; value <= NARROW_WRITES; value++) {
                      tracker.putLong(0, 64, value);
                      reported.set(value);
                      // A burst, so that the page is marked when it is written again; then a pause,
                      // so that nothing makes up for a loss.
                      if (value % 3 == 0) {
                        for (int i = random.nextInt(60); i > 0; i--) {
                          Thread.onSpinWait();
                        }
                      }
                    }
                  });
      MemoryPages pages = new MemoryPages(memory.layout());
      long copied = 0;
      long lost = 0;
      for (long before = 0; before < NARROW_WRITES; ) {
        before = reported.get();
        if (tracker.collect(pages) > 0) {
          copied = memory.block(0).segment().get(ValueLayout.JAVA_LONG, 64);
          pages.clear();
        }
        if (copied < before) {
          lost++;
        }
      }
      writer.join();
      assertThat(lost).as("collections after which a reported write was missing").isZero();
    }
  }
}
