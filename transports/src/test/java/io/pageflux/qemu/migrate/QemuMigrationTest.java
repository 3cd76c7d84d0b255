package io.pageflux.qemu.migrate;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

@RequiresQemu
class QemuMigrationTest extends MigrationRig {

  /** For so many rounds the end that max-rounds demands waits at the most. */
  private static final int GOOD_MOMENT_ROUNDS = 8;

  @Test
  void aGuestThatKeepsWritingMovesAndGoesOn() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      MigrationInfo info = move(spec(source, destination));
      assertThat(info.status()).isEqualTo(MigrationStatus.COMPLETED);
      assertThat(info.tracker()).containsIgnoringCase("compar");
      assertThat(info.rounds().getLast().last()).isTrue();
      requireMoved(source, destination);
    }
  }

  @Test
  void aGuestMovesCompressedWithDeltasAndLimitedInManyRounds() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      MigrationInfo info =
          move(
              spec(source, destination)
                  .withTuning(
                      outgoing ->
                          outgoing
                              .withCompression(new CompressionSpec(1, 2))
                              .withXbzrle(XbzrleSpec.DEFAULT)
                              .withDowntimeLimit(Duration.ZERO)
                              .withMaxRounds(6)));
      // Fewer than six and the last if the guest has written nothing in one, which may be over in a
      // moment; more if the end waits for a good moment, which takes no more rounds than these.
      assertThat(info.rounds()).hasSizeBetween(3, 6 + GOOD_MOMENT_ROUNDS + 1);
      assertThat(info.rounds().stream().mapToLong(r -> r.deltaPages()).sum()).isPositive();
      requireMoved(source, destination);
    }
  }

  @Test
  void aGuestMovesThereAndOnAgain() {
    try (QemuProcess first = startSource();
        QemuProcess second = startDestination();
        QemuProcess third = released(qemu("third.ram").with("-incoming", "defer"))) {
      move(spec(first, second));
      first.kill();
      move(spec(second, third));
      requireMoved(second, third);
    }
  }

  @Test
  void aPausedGuestStaysPaused() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      source.reconnectQmp();
      source.commands().stop().block(PATIENCE);
      byte[] before = source.pmemsave(WRITER);
      source.releaseQmp();
      move(spec(source, destination));
      destination.reconnectQmp();
      assertThat(destination.commands().queryStatus().block(PATIENCE)).isEqualTo("paused");
      assertThat(destination.pmemsave(WRITER)).isEqualTo(before);
    }
  }

  @Test
  void theSourceGoesOnIfTheDestinationIsKilledAndASecondAttemptSucceeds() throws Exception {
    try (QemuProcess source = startSource()) {
      try (QemuProcess destination = startDestination()) {
        MigrationException e =
            failure(
                QemuMigration.of(slowly(spec(source, destination)))
                    .events(Mono.never())
                    .ofType(MigrationEvent.RoundCompleted.class)
                    .doOnNext(round -> destination.kill())
                    .then());
        assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
        assertThat(e).hasMessageContaining(destination.qmpAddress());
        requireStayed(source);
      }
      Files.delete(directory.resolve("destination.ram"));
      try (QemuProcess destination = startDestination()) {
        move(spec(source, destination));
        requireMoved(source, destination);
      }
    }
  }

  @Test
  void theSourceGoesOnIfTheDestinationIsKilledDuringTheSwitchOver() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      MigrationException e =
          failure(
              QemuMigration.of(spec(source, destination))
                  .events(Mono.never())
                  .ofType(MigrationEvent.SwitchOver.class)
                  .doOnNext(now -> destination.kill())
                  .then());
      assertThat(e).hasMessageContaining(destination.qmpAddress());
      requireStayed(source);
    }
  }

  @Test
  void theSourceGoesOnIfTheDestinationIsAnotherMachine() throws Exception {
    try (QemuProcess source = startSource()) {
      try (QemuProcess destination =
          released(destination().with("-device", "virtio-rng-pci,addr=9"))) {
        // The source has no such device: QEMU does not mind. The other way round it does.
        move(spec(source, destination));
      }
      source.kill();
    }
    try (QemuProcess source =
        released(qemu("source.ram").with("-device", "virtio-rng-pci,addr=9"))) {
      source.awaitBooted();
      Files.delete(directory.resolve("destination.ram"));
      try (QemuProcess destination = startDestination()) {
        MigrationException e = failure(spec(source, destination));
        assertThat(e.kind()).as("%s", e).isEqualTo(Kind.GUEST);
        assertThat(e)
            .hasMessageContaining(destination.qmpAddress())
            .hasMessageContaining("same devices");
        assertThat(destination.errors()).contains("virtio-rng");
        requireStayed(source);
      }
      try (QemuProcess destination =
          released(destination().with("-device", "virtio-rng-pci,addr=9"))) {
        move(spec(source, destination));
        requireMoved(source, destination);
      }
    }
  }

  @Test
  void theSourceGoesOnIfStoppedAtAnyEvent() {
    for (Class<? extends MigrationEvent> when :
        List.of(
            MigrationEvent.StatusChanged.class,
            MigrationEvent.RoundStarted.class,
            MigrationEvent.RoundCompleted.class,
            MigrationEvent.SwitchOver.class)) {
      try (QemuProcess source = startSource();
          QemuProcess destination = startDestination()) {
        Sinks.Empty<Void> stop = Sinks.empty();
        MigrationException e =
            failure(
                QemuMigration.of(spec(source, destination))
                    .events(stop.asMono())
                    .ofType(when)
                    .doOnNext(event -> stop.tryEmitEmpty())
                    .then());
        assertThat(e.kind()).as(when.getSimpleName()).isEqualTo(Kind.CANCELLED);
        requireStayed(source);
      }
    }
  }

  @Test
  void theSourceGoesOnIfItsDevicesAreLongerThanAllowed() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      QemuMigrationSpec spec = spec(source, destination);
      MigrationException e = failure(spec.withDeviceLimits(10_000, spec.deviceTimeout()));
      assertThat(e).hasMessageContaining("longer than 10000 bytes");
      requireStayed(source);
      move(spec);
      requireMoved(source, destination);
    }
  }

  @Test
  void aMemoryOfAnotherSizeIsRefusedBeforeAnythingHappens() {
    try (QemuProcess source = startSource();
        QemuProcess destination = released(destination().ramMiB(64))) {
      MigrationException e = failure(spec(source, destination));
      assertThat(e.kind()).isEqualTo(Kind.LAYOUT);
      assertThat(e)
          .hasMessageContaining("'ram' of 33554432 bytes")
          .hasMessageContaining("'ram' of 67108864 bytes");
      requireStayed(source);
    }
  }

  @Test
  void memoryThatIsNotSharedIsRefusedOnEitherSide() {
    String notShared =
        "memory-backend-file,id=ram,share=off,size=32M,mem-path=" + directory.resolve("private");
    try (QemuProcess source = startSource();
        QemuProcess destination =
            released(
                QemuProcess.builder()
                    .machine("pc,memory-backend=ram")
                    .with("-object", notShared, "-incoming", "defer"))) {
      MigrationException e = failure(spec(source, destination));
      assertThat(e.kind()).isEqualTo(Kind.LAYOUT);
      assertThat(e)
          .hasMessageContaining(destination.qmpAddress())
          .hasMessageContaining("'ram' is not shared")
          .hasMessageContaining("share=on");
      requireStayed(source);
    }
    try (QemuProcess source = released(QemuProcess.builder());
        QemuProcess destination = startDestination()) {
      assertThat(failure(spec(source, destination)))
          .hasMessageContaining(source.qmpAddress())
          .hasMessageContaining("not shared");
    }
    try (QemuProcess source =
            released(
                QemuProcess.builder()
                    .machine("pc,memory-backend=ram")
                    .with("-object", "memory-backend-memfd,id=ram,share=on,size=32M"));
        QemuProcess destination = startDestination()) {
      assertThat(failure(spec(source, destination)))
          .hasMessageContaining(source.qmpAddress())
          .hasMessageContaining("in no file");
    }
  }

  @Test
  void aDestinationThatDoesNotWaitIsRefused() {
    try (QemuProcess source = startSource();
        QemuProcess destination = released(qemu("destination.ram"))) {
      assertThat(failure(spec(source, destination)))
          .hasMessageContaining(destination.qmpAddress())
          .hasMessageContaining("-incoming defer");
      requireStayed(source);
    }
  }

  @Test
  void theSameFileForBothIsRefused() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      Path file = directory.resolve("source.ram");
      assertThat(failure(spec(source, destination).withMemory(null, file)))
          .hasMessageContaining("have the same memory")
          .hasMessageContaining(file.toString());
      requireStayed(source);
    }
  }
}
