package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.dirty.DirtyTrackers;
import io.pageflux.dirty.TrackingSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.InMemoryTransport;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

@Timeout(120)
class MigrationTest {

  private static final Duration LIMIT = Duration.ofSeconds(60);

  private final GuestMemory source = memory("ram", "vga");
  private final GuestMemory destination = memory("ram", "vga");
  private final AtomicInteger runningGuests = new AtomicInteger();
  private final byte[] deviceState = new byte[100_000];
  private final WritingGuest guest = new WritingGuest(source, runningGuests, deviceState);
  private final WritingGuest newGuest = new WritingGuest(destination, runningGuests, deviceState);
  private final InMemoryTransport transport = InMemoryTransport.create();

  private static GuestMemory memory(String first, String second) {
    return GuestMemory.builder()
        .anonymous(first, 16 << 20)
        .pageSize(16384)
        .memfd(second, 1 << 20)
        .build();
  }

  @BeforeEach
  void fill() {
    new Random(3).nextBytes(deviceState);
    Random random = new Random(1);
    for (var block : source.blocks()) {
      for (long i = 0; i < block.sizeBytes(); i += 8) {
        if ((i >> 14) % 3 != 0) {
          block.segment().set(ValueLayout.JAVA_LONG, i, random.nextLong() & 0xFFFFFF);
        }
      }
    }
    guest.start();
  }

  @AfterEach
  void neverTwoGuests() {
    assertThat(guest.ranTwice || newGuest.ranTwice).as("the guest ran twice").isFalse();
    guest.stop();
    newGuest.stop();
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  private OutgoingSpec outgoing() {
    return OutgoingSpec.of(source, guest, transport.connector())
        .withProgressInterval(Duration.ofMillis(20));
  }

  private IncomingSpec incoming() {
    return IncomingSpec.of(destination, newGuest, transport.acceptor())
        .withProgressInterval(Duration.ofMillis(20));
  }

  /** How both sides ended: with a report or with an error. */
  private record Ends(
      @Nullable MigrationInfo out,
      @Nullable Throwable outError,
      @Nullable MigrationInfo in,
      @Nullable Throwable inError) {

    MigrationException outFailure() {
      return (MigrationException) Objects.requireNonNull(outError);
    }

    MigrationException inFailure() {
      return (MigrationException) Objects.requireNonNull(inError);
    }
  }

  private Ends migrate(Mono<MigrationInfo> out, Mono<MigrationInfo> in) {
    var both = Mono.zip(out.materialize(), in.materialize()).block(LIMIT);
    Objects.requireNonNull(both);
    return new Ends(
        both.getT1().get(), both.getT1().getThrowable(),
        both.getT2().get(), both.getT2().getThrowable());
  }

  private Ends migrate(OutgoingSpec out, IncomingSpec in) {
    return migrate(OutgoingMigration.of(out).run(), IncomingMigration.of(in).run());
  }

  private void assertMoved(Ends ends) {
    assertThat(ends.outError()).isNull();
    assertThat(ends.inError()).isNull();
    assertThat(guest.isRunning()).isFalse();
    assertThat(newGuest.isRunning()).isTrue();
    assertThat(newGuest.loadedState).isEqualTo(deviceState);
  }

  private void assertSameMemory() {
    for (int i = 0; i < 2; i++) {
      assertThat(source.block(i).segment().mismatch(destination.block(i).segment()))
          .as("first difference in " + source.block(i))
          .isEqualTo(-1);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "AUTO, true, true",
    "AUTO, true, false",
    "AUTO, false, true",
    "AUTO, false, false",
    "COMPARING_HASH, true, true",
    "COMPARING_SHADOW, true, true"
  })
  void aWritingGuestMovesByteForByte(TrackingSpec.Kind kind, boolean xbzrle, boolean zstd) {
    // The new guest is a passive one: what runs goes on writing, and could not be compared.
    Ends ends =
        migrate(
            outgoing()
                .withXbzrle(xbzrle ? XbzrleSpec.DEFAULT : null)
                .withCompression(zstd ? new CompressionSpec(1, 2) : null)
                .withDowntimeLimit(Duration.ofMillis(5))
                .withMaxRounds(8)
                .withTracker(
                    memory ->
                        DirtyTrackers.choose(memory, TrackingSpec.DEFAULT.withKind(kind))
                            .tracker()),
            IncomingSpec.of(destination, Guest.passive(), transport.acceptor()));
    assertThat(ends.outError()).isNull();
    assertThat(ends.inError()).isNull();
    assertThat(guest.isRunning()).isFalse();
    assertSameMemory();
    MigrationInfo out = Objects.requireNonNull(ends.out());
    MigrationInfo in = Objects.requireNonNull(ends.in());
    assertThat(out.status()).isEqualTo(MigrationStatus.COMPLETED);
    assertThat(out.downtime()).isPositive();
    assertThat(out.rounds()).hasSizeGreaterThan(1);
    assertThat(out.rounds().getLast().last()).isTrue();
    assertThat(out.ram().transferred()).isEqualTo(in.ram().transferred());
    assertThat(out.ram().duplicate()).isEqualTo(in.ram().duplicate()).isPositive();
    assertThat(out.ram().normal()).isEqualTo(in.ram().normal()).isPositive();
    assertThat(out.ram().remaining()).isZero();
    assertThat(out.ram().dirtySyncCount()).isEqualTo(out.rounds().size() + 1);
    assertThat(out.ram().total()).isEqualTo(17 << 20);
    if (xbzrle) {
      assertThat(out.rounds().stream().mapToLong(RoundReport::deltaPages).sum()).isPositive();
    } else {
      assertThat(out.xbzrleCache()).isNull();
    }
    assertThat(out.compression() != null).isEqualTo(zstd);
  }

  @Test
  void theGuestRunsAtTheDestinationWithItsDeviceState() {
    assertMoved(migrate(outgoing(), incoming()));
  }

  @Test
  void eventsTellTheStoryInOrder() {
    Mono<List<MigrationEvent>> out = OutgoingMigration.of(outgoing()).events().collectList();
    Mono<MigrationInfo> in = IncomingMigration.of(incoming()).run();
    List<MigrationEvent> events = Objects.requireNonNull(Mono.zip(out, in).block(LIMIT)).getT1();
    List<Object> statuses = new ArrayList<>();
    for (MigrationEvent event : events) {
      if (event instanceof MigrationEvent.StatusChanged changed) {
        statuses.add(changed.status());
      }
    }
    assertThat(statuses)
        .containsExactly(
            MigrationStatus.SETUP,
            MigrationStatus.ACTIVE,
            MigrationStatus.DEVICE,
            MigrationStatus.COMPLETED);
    assertThat(events.getLast()).isInstanceOf(MigrationEvent.Completed.class);
    assertThat(events.stream().filter(MigrationEvent.SwitchOver.class::isInstance)).hasSize(1);
    assertThat(events.stream().filter(MigrationEvent.RoundStarted.class::isInstance).count())
        .isEqualTo(events.stream().filter(MigrationEvent.RoundCompleted.class::isInstance).count());
  }

  @Test
  void nothingHappensBeforeSomebodySubscribes() {
    AtomicInteger connections = new AtomicInteger();
    OutgoingMigration migration =
        OutgoingMigration.of(
            OutgoingSpec.of(
                source,
                guest,
                () -> {
                  connections.incrementAndGet();
                  return transport.connector().connect();
                }));
    migration.events();
    migration.run();
    assertThat(connections).hasValue(0);
    assertThat(guest.isRunning()).isTrue();
  }

  @Test
  void aMigrationThatFailedCanBeSubscribedToAgain() {
    OutgoingMigration out = OutgoingMigration.of(outgoing());
    IncomingMigration in = IncomingMigration.of(incoming());
    newGuest.refuseToResume = true;
    Ends failed = migrate(out.run(), in.run());
    assertThat(failed.outFailure().kind()).isEqualTo(Kind.GUEST);
    assertThat(guest.isRunning()).isTrue();
    newGuest.refuseToResume = false;
    assertMoved(migrate(out.run(), in.run()));
  }

  @Test
  void aSecondAttemptIntoTheSameMemoryLeavesNothingOfTheFirstBehind() {
    Guest refusing =
        new Guest() {
          @Override
          public Mono<Void> pause() {
            return Mono.empty();
          }

          @Override
          public Mono<Void> resume() {
            return Mono.error(new IllegalStateException("not yet"));
          }
        };
    migrate(outgoing(), IncomingSpec.of(destination, refusing, transport.acceptor()));
    guest.stop();
    source.block(0).segment().asSlice(4 << 20, 4 << 20).fill((byte) 0);
    Ends ends =
        migrate(outgoing(), IncomingSpec.of(destination, Guest.passive(), transport.acceptor()));
    assertThat(ends.outError()).isNull();
    assertSameMemory();
  }

  @Test
  void differentLayoutsAreRefusedWithBothInTheMessage() {
    try (GuestMemory other = memory("ram", "rom")) {
      Ends ends = migrate(outgoing(), IncomingSpec.of(other, newGuest, transport.acceptor()));
      for (MigrationException e : List.of(ends.outFailure(), ends.inFailure())) {
        assertThat(e.kind()).isEqualTo(Kind.LAYOUT);
        assertThat(e).hasMessageContaining("vga").hasMessageContaining("rom");
      }
      assertThat(guest.isRunning()).isTrue();
      assertThat(newGuest.isRunning()).isFalse();
    }
  }

  @Test
  void aGuestThatWillNotPauseStaysWhereItIs() {
    guest.refuseToPause = true;
    Ends ends = migrate(outgoing(), incoming());
    assertThat(ends.outFailure().kind()).isEqualTo(Kind.GUEST);
    assertThat(ends.outFailure()).hasMessageContaining("it will not stop");
    assertThat(ends.inFailure().isFromPeer()).isTrue();
    assertThat(ends.inFailure()).hasMessageContaining("it will not stop");
    assertThat(guest.isRunning()).isTrue();
    assertThat(newGuest.isRunning()).isFalse();
  }

  @Test
  void aGuestThatWillNotStartGoesOnAtTheSource() {
    newGuest.refuseToResume = true;
    Ends ends = migrate(outgoing(), incoming());
    assertThat(ends.outFailure()).hasMessageContaining("it will not start");
    assertThat(ends.inFailure()).hasMessageContaining("it will not start");
    assertThat(guest.isRunning()).isTrue();
    assertThat(newGuest.isRunning()).isFalse();
  }

  @Test
  void aGuestThatWritesTooFastIsLeftAloneIfThePolicySaysSo() {
    Ends ends =
        migrate(
            outgoing().withDowntimeLimit(Duration.ZERO).withMaxRounds(3).withAtLimit(AtLimit.ABORT),
            incoming());
    assertThat(ends.outFailure().kind()).isEqualTo(Kind.NOT_CONVERGED);
    assertThat(ends.inFailure().kind()).isEqualTo(Kind.NOT_CONVERGED);
    assertThat(ends.outFailure()).hasMessageContaining("3 rounds");
    assertThat(guest.isRunning()).isTrue();
  }

  @Test
  void whoIsToldToStopSaysSoToTheOtherSide() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Mono<MigrationInfo> out =
        MigrationRun.result(
            OutgoingMigration.of(outgoing().withDowntimeLimit(Duration.ZERO).withMaxRounds(100_000))
                .events(stop.asMono())
                .doOnNext(
                    event -> {
                      if (event instanceof MigrationEvent.RoundCompleted(RoundReport report)
                          && report.round() == 3) {
                        stop.tryEmitEmpty();
                      }
                    }));
    Ends ends = migrate(out, IncomingMigration.of(incoming()).run());
    assertThat(ends.outFailure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(ends.inFailure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(ends.inFailure().isFromPeer()).isTrue();
    assertThat(guest.isRunning()).isTrue();
  }

  @Test
  void aDestinationThatIsToldToStopTellsTheSource() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Mono<MigrationInfo> in =
        MigrationRun.result(
            IncomingMigration.of(incoming())
                .events(stop.asMono())
                .doOnNext(
                    event -> {
                      if (event instanceof MigrationEvent.RoundStarted started
                          && started.round() == 2) {
                        stop.tryEmitEmpty();
                      }
                    }));
    Ends ends =
        migrate(
            OutgoingMigration.of(outgoing().withDowntimeLimit(Duration.ZERO).withMaxRounds(100_000))
                .run(),
            in);
    assertThat(ends.outFailure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(ends.outFailure().isFromPeer()).isTrue();
    assertThat(guest.isRunning()).isTrue();
  }

  @Test
  void aDestinationNobodyConnectsToCanBeStopped() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Mono<MigrationInfo> in =
        MigrationRun.result(IncomingMigration.of(incoming()).events(stop.asMono()));
    Mono<?> waiting = in.materialize().cache();
    waiting.subscribe();
    stop.tryEmitEmpty();
    assertThat(in.materialize().block(LIMIT))
        .satisfies(
            signal ->
                assertThat(Objects.requireNonNull(signal).getThrowable())
                    .isInstanceOf(MigrationException.class));
  }

  @Test
  void aSilentDestinationIsGivenUp() {
    // It accepts, and says nothing.
    transport.acceptor().accept().subscribe();
    OutgoingSpec spec = outgoing().withPeerTimeout(Duration.ofMillis(200));
    var signal = OutgoingMigration.of(spec).run().materialize().block(LIMIT);
    assertThat(Objects.requireNonNull(signal).getThrowable())
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("has said nothing for 200 ms");
    assertThat(guest.isRunning()).isTrue();
  }
}
