package io.pageflux.dirty;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.dirty.DirtyTrackers.Selection;
import io.pageflux.dirty.TrackingSpec.Kind;
import io.pageflux.dirty.TrackingSpec.Writers;
import io.pageflux.memory.GuestMemory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DirtyTrackersTest {

  private static GuestMemory privateMemory() {
    return GuestMemory.builder()
        .anonymous("ram", 1 << 20)
        .pageSize(64 << 10)
        .memfd("video", 1 << 20)
        .pageSize(512)
        .anonymous("rom", 512 * 3)
        .build();
  }

  private static void assertTracking(Throwable e) {
    assertThat(((MigrationException) e).kind()).isEqualTo(MigrationException.Kind.TRACKING);
  }

  @Test
  void memoryOfThisProcessIsTrackedByTheKernel() {
    Trackers.assumeUserfaultfd();
    try (GuestMemory memory = privateMemory()) {
      Selection selection = DirtyTrackers.choose(memory);
      try (DirtyTracker tracker = selection.tracker()) {
        assertThat(selection.kind()).isEqualTo(Kind.USERFAULTFD);
        assertThat(selection.reason()).isEqualTo("userfaultfd: passed its self-test");
        tracker.start();
        memory.block(0).segment().fill((byte) 1);
        assertThat(Trackers.collect(tracker, memory).cardinality()).isEqualTo(256);
      }
    }
  }

  @Test
  void theChoiceLeavesTheMemoryAlone() {
    try (GuestMemory memory = privateMemory()) {
      memory.block(0).segment().fill((byte) 1);
      for (Kind kind : Kind.values()) {
        if (kind == Kind.USERFAULTFD) {
          Trackers.assumeUserfaultfd();
        }
        DirtyTrackers.choose(memory, TrackingSpec.DEFAULT.withKind(kind)).tracker().close();
      }
      assertThat(memory.block(0).segment().toArray(ValueLayout.JAVA_BYTE)).containsOnly(1);
    }
  }

  @Test
  void aFileIsComparedBecauseOthersMayWriteIt(@TempDir Path dir) {
    try (GuestMemory memory = fileMemory(dir)) {
      Selection selection = DirtyTrackers.choose(memory);
      selection.tracker().close();
      assertThat(selection.kind()).isEqualTo(Kind.COMPARING_HASH);
      assertThat(selection.reason())
          .startsWith("comparing: block 'ram' is a file that other processes may write");
    }
  }

  private static GuestMemory fileMemory(Path dir) {
    try {
      return GuestMemory.builder()
          .anonymous("other", 4096)
          .file("ram", dir.resolve("ram"), 1 << 20)
          .build();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void whatOthersWriteIsCompared() {
    try (GuestMemory memory = privateMemory()) {
      Selection selection =
          DirtyTrackers.choose(memory, TrackingSpec.DEFAULT.withWriters(Writers.OTHER_PROCESSES));
      selection.tracker().close();
      assertThat(selection.kind()).isEqualTo(Kind.COMPARING_HASH);
      assertThat(selection.reason()).contains("other processes may write the memory");
    }
  }

  @Test
  void userfaultfdIsNotForcedWhereItWouldMissWrites(@TempDir Path dir) {
    TrackingSpec forced = TrackingSpec.DEFAULT.withKind(Kind.USERFAULTFD);
    try (GuestMemory memory = fileMemory(dir);
        GuestMemory own = privateMemory()) {
      for (Writers writers : Writers.values()) {
        assertThatThrownBy(() -> DirtyTrackers.choose(memory, forced.withWriters(writers)))
            .satisfies(DirtyTrackersTest::assertTracking)
            .hasMessageContaining(
                writers == Writers.OTHER_PROCESSES ? "other processes" : "block 'ram' is a file")
            .hasMessageContaining("ask for AUTO or a comparing kind");
      }
      assertThatThrownBy(
              () -> DirtyTrackers.choose(own, forced.withWriters(Writers.OTHER_PROCESSES)))
          .satisfies(DirtyTrackersTest::assertTracking)
          .hasMessageContaining("other processes");
    }
  }

  @Test
  void theWantedComparingKindIsTaken() {
    try (GuestMemory memory = privateMemory()) {
      for (Kind kind : new Kind[] {Kind.COMPARING_HASH, Kind.COMPARING_SHADOW}) {
        Selection selection = DirtyTrackers.choose(memory, TrackingSpec.DEFAULT.withKind(kind));
        try (DirtyTracker tracker = selection.tracker()) {
          assertThat(selection.kind()).isEqualTo(kind);
          assertThat(tracker.name())
              .isEqualTo(kind == Kind.COMPARING_HASH ? "comparing (hash)" : "comparing (shadow)");
        }
      }
    }
  }

  @Test
  void whereUserfaultfdIsRefusedThePagesAreCompared() throws Exception {
    try (GuestMemory memory = privateMemory()) {
      Selection selection = Seccomp.withoutUserfaultfd(() -> DirtyTrackers.choose(memory));
      selection.tracker().close();
      assertThat(selection.kind()).isEqualTo(Kind.COMPARING_HASH);
      assertThat(selection.reason())
          .startsWith("comparing: userfaultfd refused: userfaultfd: operation not permitted")
          .endsWith("passed its self-test");
    }
  }

  @Test
  void whereUserfaultfdIsRefusedAndForcedTheErrorSaysWhatToDo() {
    try (GuestMemory memory = privateMemory()) {
      assertThatThrownBy(
              () ->
                  Seccomp.withoutUserfaultfd(
                      () ->
                          DirtyTrackers.choose(
                              memory, TrackingSpec.DEFAULT.withKind(Kind.USERFAULTFD))))
          .rootCause()
          .hasMessageContaining("EPERM");
      assertThatThrownBy(() -> Seccomp.withoutUserfaultfd(() -> Userfaultfd.open()))
          .cause()
          .satisfies(DirtyTrackersTest::assertTracking)
          .hasMessageContaining("userfaultfd refused")
          .hasMessageContaining("seccomp profile");
    }
  }
}
