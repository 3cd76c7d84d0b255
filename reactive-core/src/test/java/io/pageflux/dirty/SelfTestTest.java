package io.pageflux.dirty;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import java.lang.foreign.MemorySegment;
import java.util.function.ToLongBiFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SelfTestTest {

  /** A working tracker, spoilt in one way. */
  private record Spoilt(DirtyTracker tracker, ToLongBiFunction<DirtyTracker, MemoryPages> collector)
      implements DirtyTracker {

    @Override
    public String name() {
      return "spoilt";
    }

    @Override
    public void start() {
      tracker.start();
    }

    @Override
    public long collect(MemoryPages into) {
      return collector.applyAsLong(tracker, into);
    }

    @Override
    public void copied(int blockIndex, long page, MemorySegment slab, long offset) {
      tracker.copied(blockIndex, page, slab, offset);
    }

    @Override
    public void close() {
      tracker.close();
    }
  }

  private static GuestMemory memory() {
    return GuestMemory.builder()
        .anonymous("ram", 1 << 20)
        .pageSize(512)
        .memfd("small", 512)
        .build();
  }

  @ParameterizedTest
  @EnumSource(names = {"USERFAULTFD", "COMPARING_HASH", "COMPARING_SHADOW"})
  void aKindThatWorksPasses(Trackers kind) {
    try (GuestMemory memory = memory()) {
      SelfTest.run(memory, kind::on);
    }
  }

  private static void assertFails(
      ToLongBiFunction<DirtyTracker, MemoryPages> collector, String how) {
    try (GuestMemory memory = memory()) {
      assertThatThrownBy(
              () ->
                  SelfTest.run(
                      memory,
                      scratch -> new Spoilt(DirtyTrackers.comparingHashes(scratch), collector)))
          .isInstanceOfSatisfying(
              MigrationException.class,
              e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRACKING))
          .hasMessageContaining("spoilt failed its self-test")
          .hasMessageContaining(how);
    }
  }

  @Test
  void aTrackerToWhichEverythingLooksCleanFails() {
    // What soft-dirty does on a kernel that was built without it.
    assertFails((tracker, into) -> 0, "did not report a write");
  }

  @Test
  void aTrackerToWhichEverythingLooksDirtyFails() {
    assertFails(
        (tracker, into) -> {
          into.addAll();
          return into.cardinality();
        },
        "although nothing was written");
  }

  @Test
  void aTrackerThatReportsMoreThanWasWrittenFails() {
    assertFails(
        (tracker, into) -> {
          long found = tracker.collect(into);
          return found > 0 && into.of(0).add(0) ? found + 1 : found;
        },
        "it reported 2 of");
  }

  @Test
  void aTrackerThatMiscountsFails() {
    assertFails((tracker, into) -> Math.min(1, tracker.collect(into)) * 2, "counted 2");
  }

  @Test
  void writesThatAreNotReportedFail() {
    // The program's own writes are not reported in the self-test.
    try (GuestMemory memory = memory()) {
      assertThatThrownBy(() -> SelfTest.run(memory, ReportedWrites::new))
          .hasMessageContaining("did not report a write");
    }
  }
}
