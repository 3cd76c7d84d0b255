package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.convergence.ConvergenceDecision;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/**
 * A guest that is switched to post-copy over lines that break after any of their records, the main
 * one or the lane, in either direction, also while it recovers: it goes on, and no page is wrong.
 */
@Timeout(180)
class PostcopyRecoverAnywhereTest {

  private static final ConvergencePolicy.Maker GO_ON =
      limits -> figures -> new ConvergenceDecision.Wait("it goes on");

  /** Connections in the order in which they are made when nothing goes wrong before the switch. */
  private static final int MAIN = 0;

  private static final int LANE = 1;
  private static final int MAIN_AGAIN = 2;
  private static final int LANE_AGAIN = 3;

  private final long seed = System.nanoTime();
  private final GuestMemory source = memory();
  private final GuestMemory destination = memory();
  private final VersionedGuest.Truth truth = new VersionedGuest.Truth(source);
  private final VersionedGuest guest = new VersionedGuest(PostcopyMemory.of(source), truth, seed);
  private final PostcopyMemory absentBy = PostcopyMemory.of(destination);
  private final VersionedGuest newGuest = new VersionedGuest(absentBy, truth, seed + 99);
  private final AtomicBoolean ranTwice = new AtomicBoolean();
  private final List<TapedLine> lines = new ArrayList<>();
  private InMemoryTransport transport = InMemoryTransport.create();

  private static GuestMemory memory() {
    return GuestMemory.builder()
        .anonymous("ram", 512 << 10)
        .pageSize(16 << 10)
        .memfd("vga", 128 << 10)
        .pageSize(512)
        .anonymous("rom", 16 << 10)
        .build();
  }

  @AfterEach
  void nothingIsLeft() {
    guest.stop();
    newGuest.stop();
    Leftovers.assertNoThreads();
    assertThat(Leftovers.descriptors("userfaultfd")).isZero();
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  /** One of the two guests, which sees whether the other one runs when it is started. */
  private Guest watched(VersionedGuest started, VersionedGuest other) {
    return new Guest() {
      @Override
      public Mono<Void> pause() {
        return started.pause();
      }

      @Override
      public Mono<Void> resume() {
        return Mono.fromRunnable(
            () -> {
              if (other.running) {
                ranTwice.set(true);
              }
              started.start();
            });
      }
    };
  }

  /** What happens to a connection. */
  private record Line(Fault there, Fault back) {
    static Line there(int records) {
      return new Line(Fault.cut(Place.afterBuffers(records)), Fault.NONE);
    }

    static Line back(int records) {
      return new Line(Fault.NONE, Fault.cut(Place.afterBuffers(records)));
    }
  }

  private Connector breaking(Map<Integer, Line> faults) {
    return () ->
        Mono.defer(
            () -> {
              Line fault = faults.getOrDefault(lines.size(), new Line(Fault.NONE, Fault.NONE));
              TapedLine line = new TapedLine(transport.connector(), fault.there(), fault.back());
              lines.add(line);
              return line.connector().connect().map(c -> (Connection) c);
            });
  }

  private record Ends(End out, End in) {}

  private Ends migrate(Map<Integer, Line> faults) {
    transport.acceptor().dispose();
    transport = InMemoryTransport.create();
    lines.clear();
    newGuest.stop();
    guest.fill();
    guest.start();
    Mono<End> in =
        IncomingMigration.of(
                IncomingSpec.of(destination, watched(newGuest, guest), transport.acceptor())
                    .withWorkers(1)
                    .withPostcopy(absentBy)
                    .withResume(Duration.ofSeconds(5)))
            .run()
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .cache();
    in.subscribe();
    End out =
        End.of(
            OutgoingMigration.of(
                    OutgoingSpec.of(source, watched(guest, newGuest), breaking(faults))
                        .withGeometry(new BatchGeometry(16, 64 << 10))
                        .withSlabs(4)
                        .withDowntimeLimit(Duration.ZERO)
                        .withPostcopy(OutgoingPostcopySpec.DEFAULT)
                        .withPolicy(PostcopyPolicy.after(GO_ON, 1, Duration.ofHours(1)))
                        .withResume(Retry.fixedDelay(3, Duration.ofMillis(1))))
                .run());
    transport.acceptor().dispose(); // Nobody comes back.
    return new Ends(out, Objects.requireNonNull(in.block(End.LIMIT), "no end"));
  }

  private boolean everyLineIsReleased() {
    return lines.stream()
        .allMatch(line -> line.there().outstanding() == 0 && line.back().outstanding() == 0);
  }

  /** {@return whether the whole migration was completed, as both sides know} */
  private boolean check(String what, Ends ends) {
    String all = "%s, seed %d: %s".formatted(what, seed, ends);
    assertThat(ranTwice).as(all).isFalse();
    assertThat(everyLineIsReleased()).as(all).isTrue();
    boolean sourceRan = guest.running;
    guest.stop();
    if (ends.in().error() == null) {
      // Whichever word was lost: both know that this side has everything.
      assertThat(ends.out().error()).as(all).isNull();
      assertThat(sourceRan).as(all).isFalse();
      assertThat(newGuest.running).as(all).isTrue();
      assertThat(absentBy.absent()).as(all).isNull();
      newGuest.stop();
      newGuest.verify();
    } else {
      // Before the two have agreed on it nothing is resumed.
      assertThat(sourceRan).as(all).isTrue();
      assertThat(newGuest.running).as(all).isFalse();
      assertThat(lines).as(all).hasSize(1);
      assertThat(lines.getFirst().back().bytes().length).as(all).isLessThan(400);
      guest.verify();
    }
    return ends.out().error() == null && ends.in().error() == null;
  }

  private static long resumptions(Ends ends) {
    return Objects.requireNonNull(ends.out().info()).steps().stream()
        .filter(step -> step.kind() == ConvergenceStep.Kind.RESUMED)
        .count();
  }

  private int records(int line, boolean back) {
    return WireBytes.records((back ? lines.get(line).back() : lines.get(line).there()).bytes())
        .size();
  }

  @Test
  void theMainConnectionMayBreakAfterAnyRecord() {
    assertThat(check("without a fault", migrate(Map.of()))).isTrue();
    assertThat(lines).hasSize(2);
    int there = records(MAIN, false);
    int back = records(MAIN, true);
    int completed = 0;
    for (int n = 2; n <= there; n += n < there - 20 ? 7 : 1) {
      completed += check("there after " + n, migrate(Map.of(MAIN, Line.there(n)))) ? 1 : 0;
    }
    for (int n = 2; n <= back; n++) {
      completed += check("back after " + n, migrate(Map.of(MAIN, Line.back(n)))) ? 1 : 0;
    }
    assertThat(completed).isGreaterThan(20);
  }

  @Test
  void theLaneMayBreakAfterAnyRecord() {
    int resumed = 0;
    for (int n = 1; n <= 8; n++) {
      Ends there = migrate(Map.of(LANE, Line.there(n)));
      check("lane there after " + n, there);
      Ends back = migrate(Map.of(LANE, Line.back(n)));
      check("lane back after " + n, back);
      resumed += there.out().error() == null ? (int) resumptions(there) : 0;
      resumed += back.out().error() == null ? (int) resumptions(back) : 0;
    }
    assertThat(resumed).isGreaterThan(6);
  }

  @Test
  void theConnectionsThatRecoverMayBreakAfterAnyRecord() {
    int resumed = 0;
    for (int n = 1; n <= 9; n++) {
      for (Map.Entry<Integer, Line> second :
          List.of(
              Map.entry(MAIN_AGAIN, Line.there(n)),
              Map.entry(MAIN_AGAIN, Line.back(n)),
              Map.entry(LANE_AGAIN, Line.there(n)),
              Map.entry(LANE_AGAIN, Line.back(n)))) {
        Ends ends =
            migrate(Map.of(LANE, Line.there(1 + n % 3), second.getKey(), second.getValue()));
        check("then line %s".formatted(second), ends);
        resumed += ends.out().error() == null ? (int) resumptions(ends) : 0;
      }
    }
    assertThat(resumed).isGreaterThan(30);
  }
}
