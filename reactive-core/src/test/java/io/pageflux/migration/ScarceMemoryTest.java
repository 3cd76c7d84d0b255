package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.InMemoryTransport;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * What has no memory, or no disk for it, ends as any failure does: Reactor throws such errors
 * rather than signal them, and nobody would hear of them.
 */
@Timeout(60)
class ScarceMemoryTest {

  private static final Duration PATIENCE = Duration.ofSeconds(5);

  private final TinyGuest source = TinyGuest.atSource();
  private final TinyGuest destination = new TinyGuest();
  private final InMemoryTransport transport = InMemoryTransport.create();

  @AfterEach
  void nothingIsLeft() {
    transport.acceptor().dispose();
    Leftovers.assertNoThreads();
    source.close();
    destination.close();
  }

  private static Error noMemory() {
    return new OutOfMemoryError("nothing left");
  }

  private Mono<End> receiving(GuestMemory memory, Guest guest) {
    Mono<End> end =
        IncomingMigration.of(
                IncomingSpec.of(memory, guest, transport.acceptor()).withPeerTimeout(PATIENCE))
            .run()
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .cache();
    end.subscribe();
    return end;
  }

  private static End await(Mono<End> end) {
    End ended = end.block(End.LIMIT);
    if (ended == null) {
      throw new AssertionError("no end");
    }
    return ended;
  }

  private void assertTheSourceGoesOn(Guest there, String why) {
    Mono<End> in = receiving(destination.memory, there);
    End out = End.of(source.migrate(transport.connector()));
    assertThat(out.message()).contains(why, "nothing left").doesNotContain("stays paused");
    assertThat(await(in).failure().kind()).isEqualTo(Kind.GUEST);
    assertThat(source.running).isTrue();
  }

  @Test
  void aGuestThatHasNoMemoryForItsStateGoesOnAtTheSource() {
    assertTheSourceGoesOn(
        new PassiveGuest() {
          @Override
          public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
            throw noMemory();
          }
        },
        "could not take its device state: out of memory");
  }

  @Test
  void aGuestThatHasNoMemoryToStartGoesOnAtTheSource() {
    assertTheSourceGoesOn(
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.fromRunnable(
                () -> {
                  throw noMemory();
                });
          }
        },
        "could not start: out of memory");
  }

  private void assertGoesOn(Guest here, String why) {
    Mono<End> in = receiving(destination.memory, Guest.passive());
    End out =
        End.of(
            OutgoingMigration.of(
                    OutgoingSpec.of(source.memory, here, transport.connector())
                        .withTracker(ignored -> source.tracker)
                        .withGeometry(TinyGuest.GEOMETRY)
                        .withSlabs(4)
                        .withPeerTimeout(PATIENCE))
                .run());
    assertThat(out.message()).contains(why, "nothing left").doesNotContain("stays paused");
    assertThat(await(in).error()).isNotNull();
    assertThat(source.running).isTrue();
  }

  /** The guest at the source, which has no memory for something. */
  private class Poor extends PassiveGuest {
    @Override
    public Mono<Void> pause() {
      return source.pause();
    }

    @Override
    public Mono<Void> resume() {
      return source.resume();
    }
  }

  @Test
  void aGuestThatHasNoMemoryToPauseGoesOn() {
    assertGoesOn(
        new Poor() {
          @Override
          public Mono<Void> pause() {
            return source.pause().then(Mono.error(ScarceMemoryTest::noMemory));
          }
        },
        "could not pause: out of memory");
  }

  @Test
  void aGuestThatHasNoMemoryToGiveItsStateGoesOn() {
    assertGoesOn(
        new Poor() {
          @Override
          public Flux<byte[]> saveDeviceState() {
            throw noMemory();
          }
        },
        "");
    assertThat(source.resumes).hasValue(1);
  }

  @Test
  void aDestinationWhoseFileHasNoRoomForAPageSaysSo(@TempDir Path folder) throws IOException {
    Path file = folder.resolve("ram");
    long size = source.memory.block(0).sizeBytes();
    try (GuestMemory there =
        GuestMemory.builder().pageSize(512).file("ram", file, size).anonymous("vga", 512).build()) {
      // As on a full disk: pages of the mapping that the file cannot have.
      try (RandomAccessFile shortened = new RandomAccessFile(file.toFile(), "rw")) {
        shortened.setLength(0);
      }
      Mono<End> in = receiving(there, Guest.passive());
      End out = End.of(source.migrate(transport.connector()));
      assertThat(out.message()).contains("the peer reports", "see whether its disk is full");
      assertThat(await(in).error()).isNotNull();
      assertThat(source.running).isTrue();
    }
  }

  /** A memory with a block in a file, which can be shortened, as on a full disk. */
  private static GuestMemory inFile(Path file) throws IOException {
    return GuestMemory.builder().file("ram", file, 64 << 10).build();
  }

  private static void shorten(Path file) {
    try (RandomAccessFile shortened = new RandomAccessFile(file.toFile(), "rw")) {
      shortened.setLength(0);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * A guest that goes over to post-copy with its page 3 absent, and needs it before it says that it
   * runs, so that nothing but the lane can bring it.
   */
  private Ends postcopy(GuestMemory from, GuestMemory to, Runnable paused, Runnable started) {
    PostcopyMemory absentBy = PostcopyMemory.of(to);
    ReportedWrites writes = new ReportedWrites(from);
    Guest here =
        new PassiveGuest() {
          @Override
          public Flux<byte[]> saveDeviceState() {
            paused.run();
            return Flux.empty();
          }
        };
    Guest there =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.<Void>fromRunnable(
                    () -> {
                      started.run();
                      absentBy.require(0, 3 * 4096, 1);
                    })
                .onErrorComplete();
          }
        };
    Mono<End> in =
        IncomingMigration.of(
                IncomingSpec.of(to, there, transport.acceptor())
                    .withPeerTimeout(PATIENCE)
                    .withPostcopy(absentBy))
            .run()
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .cache();
    in.subscribe();
    End out =
        End.of(
            MigrationRun.result(
                OutgoingMigration.of(
                        OutgoingSpec.of(from, here, transport.connector())
                            .withTracker(ignored -> writes)
                            .withPeerTimeout(PATIENCE)
                            .withPostcopy(OutgoingPostcopySpec.DEFAULT)
                            .withDowntimeLimit(Duration.ZERO)
                            .withPolicy(
                                PostcopyPolicy.after(LimitPolicy::new, 1, Duration.ofHours(1))))
                    .events()
                    .doOnNext(
                        event -> {
                          if (event instanceof MigrationEvent.RoundCompleted) {
                            writes.putLong(0, 3 * 4096, 7);
                          }
                        })));
    return new Ends(out, await(in));
  }

  private record Ends(End out, End in) {}

  @Test
  void aDestinationWhoseFileHasNoRoomForARequestedPageSaysSo(@TempDir Path folder)
      throws IOException {
    Path file = folder.resolve("ram");
    try (GuestMemory from = GuestMemory.builder().anonymous("ram", 64 << 10).build();
        GuestMemory to = inFile(file)) {
      Ends ends = postcopy(from, to, () -> {}, () -> shorten(file));
      assertThat(ends.in().message()).contains("could not be written", "whether its disk is full");
      assertThat(ends.out().message()).contains("the peer reports", "whether its disk is full");
    }
  }

  @Test
  void aSourceWhoseFileWasShortenedSaysSoWhenAPageIsRequested(@TempDir Path folder)
      throws IOException {
    Path file = folder.resolve("ram");
    try (GuestMemory from = inFile(file);
        GuestMemory to = GuestMemory.builder().anonymous("ram", 64 << 10).build()) {
      Ends ends = postcopy(from, to, () -> shorten(file), () -> {});
      assertThat(ends.out().message()).contains("could not be read", "somebody has shortened it");
      assertThat(ends.in().message()).contains("the peer reports", "somebody has shortened it");
    }
  }
}
