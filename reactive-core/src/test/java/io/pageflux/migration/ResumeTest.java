package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.util.retry.Retry;

/** A migration that loses its connection goes on with another one, and sends what is missing. */
@Timeout(120)
class ResumeTest {

  private static final int PAGES = 512;
  private static final Duration LONG = Duration.ofSeconds(60);

  private final GuestMemory source = memory();
  private final GuestMemory destination = memory();
  private final AtomicInteger runningGuests = new AtomicInteger();
  private final byte[] deviceState = {1, 2, 3};
  private final WritingGuest guest = new WritingGuest(source, runningGuests, deviceState);
  private final StillGuest newGuest = new StillGuest();
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final List<TapedLine> lines = new ArrayList<>();

  /** The guest at the destination, which leaves its memory as it came. */
  private final class StillGuest implements Guest {
    volatile boolean running;

    @Override
    public Mono<Void> pause() {
      return Mono.fromRunnable(
          () -> {
            if (running) {
              running = false;
              runningGuests.decrementAndGet();
            }
          });
    }

    @Override
    public Mono<Void> resume() {
      return Mono.fromRunnable(
          () -> {
            running = true;
            assertThat(runningGuests.incrementAndGet()).as("running guests").isEqualTo(1);
          });
    }
  }

  private static GuestMemory memory() {
    return GuestMemory.builder().anonymous("ram", PAGES << 12).memfd("vga", 16 << 10).build();
  }

  @AfterEach
  void neverTwoGuestsAndNothingLeft() {
    assertThat(guest.ranTwice).as("the guest ran twice").isFalse();
    guest.stop();
    Leftovers.assertNoThreads();
    assertThat(Leftovers.descriptors("userfaultfd")).isZero();
    for (TapedLine line : lines) {
      assertThat(line.there().outstanding()).isZero();
      assertThat(line.back().outstanding()).isZero();
    }
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  private void fill() {
    byte[] noise = new byte[PAGES << 12];
    new Random(7).nextBytes(noise);
    source.block(0).segment().copyFrom(java.lang.foreign.MemorySegment.ofArray(noise));
  }

  /** Connections that break, each in its own way; those after the last one do not. */
  private Connector breaking(Fault... there) {
    return breaking(n -> n < there.length ? there[n] : Fault.NONE, n -> Fault.NONE);
  }

  private Connector breaking(IntFunction<Fault> there, IntFunction<Fault> back) {
    AtomicInteger made = new AtomicInteger();
    return () ->
        Mono.defer(
            () -> {
              int n = made.getAndIncrement();
              TapedLine line = new TapedLine(transport.connector(), there.apply(n), back.apply(n));
              lines.add(line);
              return line.connector().connect().map(c -> (Connection) c);
            });
  }

  private OutgoingSpec outgoing(Connector connector) {
    return OutgoingSpec.of(source, guest, connector)
        .withGeometry(new BatchGeometry(8, 32 << 10))
        .withSlabs(4)
        .withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(1 << 20))
        .withCompression(null)
        .withDowntimeLimit(Duration.ZERO)
        .withMaxRounds(3)
        .withResume(Retry.fixedDelay(5, Duration.ofMillis(10)));
  }

  private IncomingSpec incoming() {
    return IncomingSpec.of(destination, newGuest, transport.acceptor())
        .withWorkers(1)
        .withResume(LONG);
  }

  private record Ends(End out, End in) {}

  private Ends migrate(OutgoingSpec out, IncomingSpec in) {
    return migrate(OutgoingMigration.of(out).run(), IncomingMigration.of(in).run());
  }

  private static Ends migrate(Mono<MigrationInfo> out, Mono<MigrationInfo> in) {
    Mono<End> inEnd = in.materialize().map(s -> new End(s.get(), s.getThrowable())).cache();
    inEnd.subscribe();
    End outEnd = End.of(out);
    return new Ends(outEnd, Objects.requireNonNull(inEnd.block(End.LIMIT), "no end"));
  }

  private void assertArrived(String what, Ends ends) {
    assertThat(ends.out().error()).as(what).isNull();
    assertThat(ends.in().error()).as(what).isNull();
    assertThat(guest.isRunning()).as(what).isFalse();
    assertThat(newGuest.running).as(what).isTrue();
    assertSameMemory(what);
  }

  private void assertSameMemory(String what) {
    for (int i = 0; i < 2; i++) {
      assertThat(source.block(i).segment().mismatch(destination.block(i).segment()))
          .as(what + ": first difference in " + source.block(i))
          .isEqualTo(-1);
    }
  }

  /** The guest is at the source again, and its destination knows nothing of it. */
  private void backAtTheSource() {
    newGuest.pause().block();
    destination.blocks().forEach(block -> block.segment().fill((byte) 0));
    guest.start();
  }

  private static long count(Ends ends, ConvergenceStep.Kind kind) {
    return Objects.requireNonNull(ends.out().info()).steps().stream()
        .filter(step -> step.kind() == kind)
        .count();
  }

  @Test
  void whatHasArrivedIsNotSentAgain() {
    fill();
    Fault atNinetyPercent = Fault.cutAfter((PAGES << 12) * 9L / 10);
    Ends ends = migrate(outgoing(breaking(atNinetyPercent)).withMaxRounds(1), incoming());
    assertArrived("90 %", ends);
    MigrationInfo info = Objects.requireNonNull(ends.out().info());
    assertThat(info.ram().transferred()).isLessThan((long) ((PAGES << 12) * 1.15));
    assertThat(info.status()).isEqualTo(MigrationStatus.COMPLETED);
    assertThat(count(ends, ConvergenceStep.Kind.CONNECTION_LOST)).isEqualTo(1);
    assertThat(count(ends, ConvergenceStep.Kind.RESUMED)).isEqualTo(1);
  }

  @Test
  void aGuestThatWritesArrivesWholeHoweverOftenItsLineBreaks() {
    guest.start();
    Fault[] cuts = new Fault[12];
    for (int i = 0; i < cuts.length; i++) {
      cuts[i] = Fault.cut(Place.afterBuffers(3 + i * 5L));
    }
    Ends ends = migrate(outgoing(breaking(cuts)), incoming());
    assertArrived("12 cuts", ends);
    assertThat(count(ends, ConvergenceStep.Kind.RESUMED)).isEqualTo(12);
  }

  @Test
  void aLineThatBreaksOnceAfterAnyRecord() {
    guest.start();
    Ends good = migrate(outgoing(breaking()), incoming());
    assertArrived("without a fault", good);
    int there = WireBytes.records(lines.getLast().there().bytes()).size();
    int back = WireBytes.records(lines.getLast().back().bytes()).size();
    for (int n = 2; n <= there; n += n < there - 12 ? 7 : 1) {
      assertOneGuest("there, cut after " + n, Fault.cut(Place.afterBuffers(n)), Fault.NONE);
    }
    for (int n = 1; n <= back; n++) {
      assertOneGuest("back, cut after " + n, Fault.NONE, Fault.cut(Place.afterBuffers(n)));
    }
  }

  private void assertOneGuest(String what, Fault there, Fault back) {
    // A tape has all of the memory, several times over.
    lines.forEach(line -> line.there().forget());
    backAtTheSource();
    Ends ends =
        migrate(
            outgoing(breaking(n -> n == 0 ? there : Fault.NONE, n -> n == 0 ? back : Fault.NONE)),
            incoming().withResume(Duration.ofMillis(500)));
    if (ends.out().error() == null) {
      assertArrived(what, ends);
    } else if (ends.out().message().contains("stays paused here")) {
      assertThat(guest.isRunning()).as(what).isFalse();
      assertThat(newGuest.running).as(what).isEqualTo(ends.in().error() == null);
      if (newGuest.running) {
        assertSameMemory(what);
      }
    } else {
      // Nobody resumes what was not agreed on yet.
      assertThat(lines.getLast().there().bytes().length).as(what + ends).isLessThan(200);
      assertThat(guest.isRunning()).as(what).isTrue();
    }
  }

  @Test
  void aLineThatBreaksWheneverItIsGreetedIsGivenUp() {
    fill();
    guest.start();
    Fault atOnce = Fault.cut(Place.afterBuffers(3)); // when the round has begun
    Ends ends =
        migrate(
            outgoing(
                    breaking(
                        n -> n == 0 ? Fault.cut(Place.afterBuffers(20)) : atOnce, n -> Fault.NONE))
                .withResume(Retry.fixedDelay(3, Duration.ofMillis(1))),
            incoming().withResume(Duration.ofMillis(500)));
    assertThat(ends.out().message()).contains("could not be made again");
    assertThat(guest.isRunning()).isTrue();
    // The second one settled what the first one had brought over; then three more.
    assertThat(lines).hasSize(5);
  }

  @Test
  void aDestinationThatHasLostEverythingIsSentEverything() {
    fill();
    guest.start();
    // It gives up at once; who comes then has never heard of the migration, nor has its memory.
    Mono<MigrationInfo> impatient =
        IncomingMigration.of(incoming().withResume(Duration.ofNanos(1))).run().onErrorComplete();
    Ends ends =
        migrate(
            OutgoingMigration.of(
                    outgoing(breaking(Fault.cut(Place.afterBuffers(20))))
                        .withResume(Retry.fixedDelay(50, Duration.ofMillis(10))))
                .run(),
            impatient.then(
                Mono.defer(
                    () -> {
                      destination.blocks().forEach(block -> block.segment().fill((byte) 0));
                      return IncomingMigration.of(incoming()).run();
                    })));
    assertArrived("another destination", ends);
    assertThat(Objects.requireNonNull(ends.out().info()).steps())
        .anyMatch(step -> step.why().contains("has nothing of what it had"));
  }

  @Test
  void whoeverElseConnectsIsTurnedAway() {
    fill();
    guest.start();
    Sinks.Empty<Void> strangerGone = Sinks.empty();
    AtomicInteger made = new AtomicInteger();
    End[] stranger = new End[1];
    Connector broken = breaking(Fault.cut(Place.afterBuffers(20)));
    // While the source waits for its second attempt, another one has its turn.
    Connector connector =
        () ->
            Mono.defer(
                () -> {
                  if (made.getAndIncrement() == 1) {
                    GuestMemory other = memory();
                    stranger[0] =
                        End.of(
                            OutgoingMigration.of(
                                    OutgoingSpec.of(other, Guest.passive(), transport.connector()))
                                .run());
                    other.close();
                    strangerGone.tryEmitEmpty();
                  }
                  return broken.connect().map(c -> (Connection) c);
                });
    Connector elsewhere =
        () ->
            Mono.defer(connector::connect)
                .subscribeOn(reactor.core.scheduler.Schedulers.boundedElastic())
                .map(c -> (Connection) c);
    Ends ends = migrate(outgoing(elsewhere), incoming());
    assertArrived("with a stranger", ends);
    assertThat(stranger[0].failure().kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(stranger[0].message()).contains("awaits the source of another migration");
  }

  @Test
  void aSourceThatDoesNotComeBackIsGivenUp() {
    guest.start();
    Ends ends =
        migrate(
            outgoing(breaking(Fault.cut(Place.afterBuffers(20)))).withResume(null).withMaxRounds(3),
            incoming().withResume(Duration.ofMillis(50)));
    assertThat(ends.out().failure().kind()).isEqualTo(Kind.TRANSPORT);
    assertThat(ends.in().failure().kind()).isEqualTo(Kind.TRANSPORT); // It was not agreed on.
    Ends agreed =
        migrate(
            outgoing(
                    breaking(
                        n -> n == 0 ? Fault.cut(Place.afterBuffers(20)) : Fault.cut(Place.START),
                        n -> Fault.NONE))
                .withResume(Retry.fixedDelay(2, Duration.ofMillis(1))),
            incoming().withResume(Duration.ofMillis(200)));
    assertThat(agreed.out().failure().kind()).isEqualTo(Kind.TRANSPORT);
    assertThat(agreed.out().message())
        .startsWith("the connection was lost, and could not be made again: ");
    assertThat(guest.isRunning()).isTrue();
    assertThat(agreed.in().message()).contains("the source has not come back within 200 ms");
    assertThat(newGuest.running).isFalse();
  }

  @Test
  void whoStopsItWhileTheConnectionIsLostHasTheGuestGoOn() {
    guest.start();
    Sinks.Empty<Void> stop = Sinks.empty();
    Sinks.Empty<Void> stopIn = Sinks.empty();
    Ends ends =
        migrate(
            MigrationRun.result(
                OutgoingMigration.of(
                        outgoing(breaking(Fault.cut(Place.afterBuffers(20))))
                            .withResume(Retry.fixedDelay(1, Duration.ofHours(1))))
                    .events(stop.asMono())
                    .doOnNext(event -> stopWhenLost(event, stop))),
            MigrationRun.result(
                IncomingMigration.of(incoming())
                    .events(stopIn.asMono())
                    .doOnNext(event -> stopWhenLost(event, stopIn))));
    assertThat(ends.out().failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(ends.in().failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(guest.isRunning()).isTrue();
  }

  private static void stopWhenLost(MigrationEvent event, Sinks.Empty<Void> stop) {
    if (event instanceof MigrationEvent.StatusChanged(MigrationStatus status)
        && status == MigrationStatus.RECONNECTING) {
      stop.tryEmitEmpty();
    }
  }
}
