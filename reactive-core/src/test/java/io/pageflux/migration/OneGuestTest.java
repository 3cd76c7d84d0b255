package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;

/**
 * A guest that writes all the time, moved over lines that break at every possible place and by
 * people who change their minds: it never runs twice, runs at the source unless it was given up,
 * and can be moved afterwards.
 */
@Timeout(120)
class OneGuestTest {

  private static final Duration SOON = Duration.ofMillis(300);

  private final GuestMemory source = memory();
  private final GuestMemory destination = memory();
  private final AtomicInteger runningGuests = new AtomicInteger();
  private final byte[] deviceState = {1, 2, 3};
  private final WritingGuest guest = new WritingGuest(source, runningGuests, deviceState);
  private final WritingGuest newGuest = new WritingGuest(destination, runningGuests, deviceState);
  private InMemoryTransport transport = InMemoryTransport.create();

  private static GuestMemory memory() {
    return GuestMemory.builder().anonymous("ram", 64 << 10).memfd("vga", 16 << 10).build();
  }

  @BeforeEach
  void start() {
    guest.start();
  }

  @AfterEach
  void neverTwoGuests() {
    assertThat(guest.ranTwice || newGuest.ranTwice).as("the guest ran twice").isFalse();
    guest.stop();
    newGuest.stop();
    Leftovers.assertNoThreads();
    assertThat(Leftovers.descriptors("userfaultfd")).isZero();
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  private OutgoingSpec outgoing(TapedLine line) {
    return OutgoingSpec.of(source, guest, line.connector())
        .withGeometry(new BatchGeometry(8, 32 << 10))
        .withSlabs(4)
        .withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(64 << 10))
        .withCompression(new CompressionSpec(1, 1))
        .withDowntimeLimit(Duration.ZERO)
        .withMaxRounds(3);
  }

  private IncomingSpec incoming(Guest at) {
    return IncomingSpec.of(destination, at, transport.acceptor()).withWorkers(1);
  }

  /** A line to the destination of the next attempt, which nobody has waited at before. */
  private TapedLine line(Fault there, Fault back) {
    transport.acceptor().dispose();
    transport = InMemoryTransport.create();
    return new TapedLine(transport.connector(), there, back);
  }

  private record Ends(End out, End in) {}

  private Ends migrate(Mono<MigrationInfo> out, Mono<MigrationInfo> in) {
    Mono<End> inEnd = in.materialize().map(s -> new End(s.get(), s.getThrowable())).cache();
    inEnd.subscribe();
    End outEnd = End.of(out);
    End end = inEnd.block(End.LIMIT);
    if (end == null) {
      throw new AssertionError("no end");
    }
    return new Ends(outEnd, end);
  }

  private Ends migrate(TapedLine line, Duration peerTimeout) {
    return migrate(
        OutgoingMigration.of(outgoing(line).withPeerTimeout(peerTimeout)).run(),
        IncomingMigration.of(incoming(newGuest).withPeerTimeout(peerTimeout)).run());
  }

  /** What must hold after any attempt; afterwards the guest runs at the source again. */
  private void assertOneGuest(String what, TapedLine line, Ends ends) {
    boolean committed =
        WireBytes.records(line.there().bytes()).stream()
            .anyMatch(record -> record.type() == WireBytes.COMMIT);
    assertThat(guest.isRunning() && newGuest.isRunning()).as(what).isFalse();
    assertThat(line.there().outstanding()).as(what).isZero();
    assertThat(line.back().outstanding()).as(what).isZero();
    for (End end : List.of(ends.out(), ends.in())) {
      assertThat(String.valueOf(end.error())).as(what).doesNotContain("not released");
    }
    if (ends.out().error() == null) {
      assertThat(ends.in().error()).as(what).isNull();
      assertThat(newGuest.isRunning()).as(what).isTrue();
    } else if (ends.out().message().contains("stays paused here")) {
      assertThat(guest.isRunning()).as(what).isFalse();
      assertThat(newGuest.isRunning()).as(what).isEqualTo(ends.in().error() == null);
      // Somebody has looked there.
      newGuest.stop();
      guest.start();
    } else {
      assertThat(guest.isRunning()).as(what + ": " + ends).isTrue();
      assertThat(ends.in().error()).as(what).isNotNull();
    }
    assertThat(newGuest.isRunning() && !committed).as(what).isFalse();
    if (newGuest.isRunning()) {
      newGuest.stop();
      guest.start();
    }
  }

  /** The guest moves over a good line, and stands still there: what it has written is all there. */
  private void assertStillMovable(String what) {
    TapedLine good = line(Fault.NONE, Fault.NONE);
    Ends ends =
        migrate(
            OutgoingMigration.of(outgoing(good)).run(),
            IncomingMigration.of(incoming(Guest.passive())).run());
    assertThat(ends.out().error()).as(what).isNull();
    assertThat(ends.in().error()).as(what).isNull();
    for (int i = 0; i < 2; i++) {
      assertThat(source.block(i).segment().mismatch(destination.block(i).segment()))
          .as(what + ": first difference in " + source.block(i))
          .isEqualTo(-1);
    }
    guest.start();
  }

  /** Where the records of one migration end, in either direction. */
  private List<Long> boundaries(boolean back) {
    TapedLine line = line(Fault.NONE, Fault.NONE);
    Ends ends = migrate(line, Duration.ofSeconds(5));
    assertOneGuest("without a fault", line, ends);
    assertThat(ends.out().error()).isNull();
    byte[] bytes = back ? line.back().bytes() : line.there().bytes();
    return WireBytes.records(bytes).stream().map(record -> (long) record.to()).toList();
  }

  private void assertOneGuestWith(Fault there, Fault back) {
    String what = "there " + there + ", back " + back;
    TapedLine line = line(there, back);
    Ends ends = migrate(line, Duration.ofSeconds(5));
    assertOneGuest(what, line, ends);
    assertStillMovable(what);
  }

  @Test
  void aLineThatBreaksAfterAnyRecordOfTheSource() {
    int records = boundaries(false).size();
    for (int n = 1; n <= records; n++) {
      assertOneGuestWith(Fault.cut(Place.afterBuffers(n)), Fault.NONE);
    }
  }

  @Test
  void aLineThatBreaksAfterAnyRecordOfTheDestination() {
    for (long end : boundaries(true)) {
      assertOneGuestWith(Fault.NONE, Fault.cutAfter(end));
      assertOneGuestWith(Fault.NONE, Fault.endAfter(end));
      assertOneGuestWith(Fault.NONE, Fault.endAfter(end - 1));
    }
  }

  @Test
  void aLineThatEndsOrIsDamagedAnywhere() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    List<Long> there = boundaries(false);
    List<Long> back = boundaries(true);
    List<Fault> faults = new ArrayList<>(List.of(Fault.end(Place.START), Fault.cut(Place.START)));
    for (int i = 0; i < 20; i++) {
      long at = random.nextLong(there.getLast());
      faults.add(i % 2 == 0 ? Fault.endAfter(at) : Fault.flip(at));
    }
    for (Fault fault : faults) {
      try {
        assertOneGuestWith(fault, Fault.NONE);
        assertOneGuestWith(
            Fault.NONE, fault.at(Place.afterBytes(fault.place().count() % back.getLast())));
      } catch (AssertionError e) {
        throw new AssertionError("with seed " + seed + ": " + e.getMessage(), e);
      }
    }
  }

  @Test
  void aLineThatStalls() {
    Duration patience = Duration.ofMillis(150);
    Fault[][] faults = {
      {Fault.stall(Place.beforeRecord(WireBytes.ROUND_END)), Fault.NONE},
      {Fault.stall(Place.beforeRecord(WireBytes.COMMIT)), Fault.NONE},
      {Fault.NONE, Fault.stall(Place.beforeRecord(WireBytes.ROUND_ACK))},
      {Fault.NONE, Fault.stall(Place.beforeRecord(WireBytes.RUNNING))}
    };
    for (Fault[] fault : faults) {
      String what = "there " + fault[0] + ", back " + fault[1];
      TapedLine line = line(fault[0], fault[1]);
      Ends ends = migrate(line, patience);
      assertThat(ends.out().error()).isNotNull();
      // Who waits in vain says so, or hears it from the other side where it still can.
      Kind kind = ends.out().failure().kind();
      assertThat(kind).as(ends.toString()).isIn(Kind.TIMEOUT, Kind.TRANSPORT);
      assertOneGuest(what, line, ends);
      assertStillMovable(what);
    }
  }

  @Test
  void peopleWhoStopOrCancelEitherSideAtAnyMoment() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int i = 0; i < 60; i++) {
      String what = "seed " + seed + ", attempt " + i;
      TapedLine line = line(Fault.NONE, Fault.NONE);
      Duration moment = Duration.ofNanos(random.nextLong(25_000_000));
      Mono<Void> stop = Mono.delay(moment, Schedulers.parallel()).then();
      OutgoingMigration out = OutgoingMigration.of(outgoing(line).withPeerTimeout(SOON));
      IncomingMigration in = IncomingMigration.of(incoming(newGuest));
      Mono<MigrationInfo> outRun = i % 2 == 0 ? MigrationRun.result(out.events(stop)) : out.run();
      Sinks.Empty<Void> sourceGone = Sinks.empty();
      Mono<MigrationInfo> inRun =
          MigrationRun.result(
              in.events(
                  i % 2 == 0
                      ? sourceGone.asMono()
                      : Mono.firstWithSignal(stop, sourceGone.asMono())));
      Ends ends =
          migrate(
              outRun.doFinally(
                  signal -> {
                    if (line.there().bytes().length == 0) {
                      sourceGone.tryEmitEmpty(); // It did not come to connect.
                    }
                  }),
              inRun);
      for (End end : List.of(ends.out(), ends.in())) {
        if (end.error() != null) {
          assertThat(end.failure().kind())
              .as(what + ": " + ends)
              .isIn(Kind.CANCELLED, Kind.TRANSPORT, Kind.TIMEOUT);
        }
      }
      assertOneGuest(what, line, ends);
      if (i % 10 == 0) {
        assertStillMovable(what);
      }
    }
  }
}
