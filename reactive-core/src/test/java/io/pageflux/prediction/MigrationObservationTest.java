package io.pageflux.prediction;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.page.BatchGeometry;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.test.StepVerifier;

class MigrationObservationTest {

  private static final int PAGES = 2048;

  /** Counts what was not closed, and fails when told to. */
  private static final class Watched implements DirtyTracker {
    private final DirtyTracker tracker;
    private final CountDownLatch closed;
    private final CountDownLatch collected;
    private final int failAt;
    private final AtomicInteger collections = new AtomicInteger();

    Watched(DirtyTracker tracker, CountDownLatch closed, CountDownLatch collected, int failAt) {
      this.tracker = tracker;
      this.closed = closed;
      this.collected = collected;
      this.failAt = failAt;
    }

    @Override
    public String name() {
      return tracker.name();
    }

    @Override
    public void start() {
      tracker.start();
    }

    @Override
    public long collect(MemoryPages into) {
      if (collections.incrementAndGet() == failAt) {
        throw new IllegalStateException("scripted");
      }
      collected.countDown();
      return tracker.collect(into);
    }

    @Override
    public void copied(int blockIndex, long page, MemorySegment slab, long offset) {
      tracker.copied(blockIndex, page, slab, offset);
    }

    @Override
    public boolean collectsWithinRounds() {
      return tracker.collectsWithinRounds();
    }

    @Override
    public void close() {
      tracker.close();
      closed.countDown();
    }
  }

  private final CountDownLatch closed = new CountDownLatch(1);
  private final CountDownLatch collected = new CountDownLatch(2);

  private ObservationSpec spec(
      GuestMemory memory, Function<GuestMemory, DirtyTracker> tracker, int failAt) {
    return new ObservationSpec(
        memory,
        m -> new Watched(tracker.apply(m), closed, collected, failAt),
        XbzrleSpec.DEFAULT,
        CompressionSpec.DEFAULT,
        BatchGeometry.DEFAULT,
        Duration.ofSeconds(1),
        4 << 20,
        5);
  }

  private static GuestMemory memory() {
    GuestMemory memory = GuestMemory.builder().anonymous("ram", PAGES * 4096L).build();
    byte[] noise = new byte[4096 * PAGES / 2];
    new java.util.Random(1).nextBytes(noise);
    MemorySegment.copy(noise, 0, memory.block(0).segment(), ValueLayout.JAVA_BYTE, 0, noise.length);
    return memory;
  }

  private void watchScripted(Function<GuestMemory, DirtyTracker> tracker) {
    try (GuestMemory memory = memory();
        GuestWatch watch = GuestWatch.open(spec(memory, tracker, -1))) {
      MemorySegment ram = memory.block(0).segment();
      SplittableRandom random = new SplittableRandom(2);
      long[] now = {1};
      watch.begin();
      for (int tick = 0; tick < 21; tick++) {
        for (int page = 0; page < 100; page++) {
          ram.set(ValueLayout.JAVA_LONG, page * 4096L, random.nextLong());
        }
        ram.set(ValueLayout.JAVA_LONG, (200L + tick) * 4096, random.nextLong());
        now[0] += 100_000_000;
        assertThat(watch.tick(() -> now[0])).isTrue();
      }
      GuestProfile profile = watch.profile(() -> now[0]);
      assertThat(profile.dirtying().lengthSeconds()).isCloseTo(2, within(1e-9));
      assertThat(profile.dirtying().pages(0, 0.1, 0)).isCloseTo(101, within(1e-6));
      assertThat(profile.dirtying().pages(0, 2, 0)).isCloseTo(120, within(1e-6));
      assertThat(profile.first().contentPart()).isCloseTo(0.5, within(0.2));
      PageLesson last = profile.later().getLast();
      assertThat(last.rawBytes()).isBetween(4000.0, 4200.0);
      assertThat(last.deltaBytes()).isLessThan(100);
      assertThat(last.contentPart()).isEqualTo(1);
    }
    assertThat(closed.getCount()).isZero();
  }

  @Test
  void theKernelsTrackerShowsWhatAScriptedGuestWrites() {
    watchScripted(DirtyTrackers::userfaultfd);
  }

  @Test
  void aTrackerThatComparesShowsTheSame() {
    watchScripted(DirtyTrackers::comparingHashes);
  }

  @Test
  void aGuestThatDoesNotWriteIsSeenNotTo() {
    try (GuestMemory memory = memory()) {
      GuestProfile profile =
          Objects.requireNonNull(
              MigrationObservation.of(spec(memory, DirtyTrackers::userfaultfd, -1))
                  .block(Duration.ofMinutes(1)));
      assertThat(profile.dirtying().pages(0, 60, 1)).isZero();
      assertThat(closed.getCount()).isZero();
    }
  }

  @Test
  void whatWasTakenIsGivenBackAfterAnError() {
    try (GuestMemory memory = memory()) {
      StepVerifier.create(MigrationObservation.of(spec(memory, DirtyTrackers::userfaultfd, 3)))
          .expectErrorMessage("scripted")
          .verify(Duration.ofMinutes(1));
      assertThat(closed.getCount()).isZero();
    }
  }

  @Test
  void whatWasTakenIsGivenBackAfterACancel() throws InterruptedException {
    try (GuestMemory memory = memory()) {
      Disposable run =
          MigrationObservation.of(spec(memory, DirtyTrackers::userfaultfd, -1)).subscribe();
      assertThat(collected.await(1, TimeUnit.MINUTES)).isTrue();
      run.dispose();
      assertThat(closed.await(1, TimeUnit.MINUTES)).isTrue();
    }
  }
}
