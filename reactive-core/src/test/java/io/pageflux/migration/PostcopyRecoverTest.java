package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.convergence.ConvergenceDecision;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.Place;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/** Post-copy whose line breaks: what is sent again, what it is called, and if nobody comes back. */
@Timeout(60)
class PostcopyRecoverTest {

  private static final long BYTES = 16 << 20;
  private static final int POSTCOPY_COMPLETE = 38;
  private static final ConvergencePolicy.Maker GO_ON =
      limits -> figures -> new ConvergenceDecision.Wait("it goes on");

  private final GuestMemory source = GuestMemory.builder().anonymous("ram", BYTES).build();
  private final GuestMemory destination = GuestMemory.builder().anonymous("ram", BYTES).build();
  private final PostcopyMemory absentBy = PostcopyMemory.of(destination);
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final List<TapedLine> lines = new ArrayList<>();
  private volatile boolean runsHere;
  private volatile boolean runsThere;

  @AfterEach
  void nothingIsLeft() {
    Leftovers.assertNoThreads();
    for (TapedLine line : lines) {
      assertThat(line.there().outstanding()).isZero();
      assertThat(line.back().outstanding()).isZero();
    }
    transport.acceptor().dispose();
    source.close();
    destination.close();
  }

  private Guest atSource() {
    return new Guest() {
      @Override
      public Mono<Void> pause() {
        return Mono.fromRunnable(() -> runsHere = false);
      }

      @Override
      public Mono<Void> resume() {
        return Mono.fromRunnable(() -> runsHere = true);
      }
    };
  }

  private Guest atDestination(Runnable onStart) {
    return new Guest() {
      @Override
      public Mono<Void> pause() {
        return Mono.fromRunnable(() -> runsThere = false);
      }

      @Override
      public Mono<Void> resume() {
        return Mono.fromRunnable(
            () -> {
              runsThere = true;
              onStart.run();
            });
      }
    };
  }

  private void fill() {
    byte[] noise = new byte[(int) BYTES];
    new Random(7).nextBytes(noise);
    MemorySegment.copy(noise, 0, source.block(0).segment(), ValueLayout.JAVA_BYTE, 0, noise.length);
    runsHere = true;
  }

  /** Lines of which the first ones break; none are made but those if {@code noMore}. */
  private Connector breaking(boolean noMore, Fault... there) {
    return breaking(noMore, List.of(there), Fault.NONE);
  }

  /** The same; and the first one may break on the way back. */
  private Connector breaking(boolean noMore, List<Fault> there, Fault back) {
    return () ->
        Mono.defer(
            () -> {
              if (noMore && lines.size() >= there.size()) {
                return Mono.error(MigrationException.of(Kind.TRANSPORT, "nobody is there"));
              }
              Fault fault = lines.size() < there.size() ? there.get(lines.size()) : Fault.NONE;
              Fault onItsWayBack = lines.isEmpty() ? back : Fault.NONE;
              TapedLine line = new TapedLine(transport.connector(), fault, onItsWayBack);
              lines.add(line);
              return line.connector().connect().map(c -> (Connection) c);
            });
  }

  private OutgoingSpec outgoing(Connector connector) {
    return OutgoingSpec.of(source, atSource(), connector)
        .withTracker(ReportedWrites::new)
        .withCompression(null)
        .withPolicy(PostcopyPolicy.after(GO_ON, 9, Duration.ofHours(1)))
        .withPostcopy(OutgoingPostcopySpec.DEFAULT)
        .withResume(Retry.fixedDelay(3, Duration.ofMillis(1)));
  }

  private IncomingSpec incoming(Runnable onStart) {
    return IncomingSpec.of(destination, atDestination(onStart), transport.acceptor())
        .withPostcopy(absentBy)
        .withResume(Duration.ofSeconds(2));
  }

  private record Ends(
      End out, End in, List<MigrationStatus> outStatuses, List<MigrationStatus> inStatuses) {}

  private static void note(MigrationEvent event, List<MigrationStatus> statuses) {
    if (event instanceof MigrationEvent.StatusChanged(MigrationStatus now)) {
      statuses.add(now);
    }
  }

  /** Switches at once, so that nearly all is absent. */
  private Ends migrate(OutgoingSpec out, IncomingSpec in) {
    fill();
    List<MigrationStatus> outStatuses = Collections.synchronizedList(new ArrayList<>());
    List<MigrationStatus> inStatuses = Collections.synchronizedList(new ArrayList<>());
    OutgoingMigration migration = OutgoingMigration.of(out);
    Flux<MigrationEvent> events =
        migration
            .events()
            .doOnNext(
                event -> {
                  note(event, outStatuses);
                  if (event instanceof MigrationEvent.RoundStarted) {
                    migration.startPostcopy().subscribe();
                  }
                });
    Mono<End> inEnd =
        MigrationRun.result(
                IncomingMigration.of(in).events().doOnNext(event -> note(event, inStatuses)))
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .cache();
    inEnd.subscribe();
    End outEnd = End.of(MigrationRun.result(events));
    return new Ends(
        outEnd, Objects.requireNonNull(inEnd.block(End.LIMIT)), outStatuses, inStatuses);
  }

  private void assertArrived(Ends ends) {
    assertThat(ends.out().error()).isNull();
    assertThat(ends.in().error()).isNull();
    assertThat(runsHere).isFalse();
    assertThat(runsThere).isTrue();
    assertThat(source.block(0).segment().mismatch(destination.block(0).segment())).isEqualTo(-1);
  }

  private static long transferred(@Nullable MigrationInfo info) {
    return Objects.requireNonNull(info).ram().transferred();
  }

  @Test
  void whatHasArrivedIsNotSentAgain() {
    Ends ends =
        migrate(outgoing(breaking(false, Fault.cutAfter(BYTES * 9 / 10))), incoming(() -> {}));
    assertArrived(ends);
    assertThat(lines).hasSize(4);
    assertThat(transferred(ends.out().info())).isLessThan(BYTES * 115 / 100);
    assertThat(transferred(ends.in().info())).isBetween(BYTES, BYTES * 115 / 100);
    assertThat(ends.outStatuses())
        .endsWith(
            MigrationStatus.POSTCOPY_ACTIVE,
            MigrationStatus.POSTCOPY_PAUSED,
            MigrationStatus.POSTCOPY_RECOVER,
            MigrationStatus.POSTCOPY_ACTIVE,
            MigrationStatus.COMPLETED);
    assertThat(ends.inStatuses())
        .endsWith(
            MigrationStatus.POSTCOPY_ACTIVE,
            MigrationStatus.POSTCOPY_PAUSED,
            MigrationStatus.POSTCOPY_RECOVER,
            MigrationStatus.POSTCOPY_ACTIVE,
            MigrationStatus.COMPLETED);
  }

  @Test
  void itMayBreakAgainAndAgain() {
    Fault[] faults = new Fault[12];
    for (int i = 0; i < faults.length; i += 2) {
      faults[i] = Fault.cutAfter(2 << 20);
      faults[i + 1] = Fault.NONE;
    }
    Ends ends = migrate(outgoing(breaking(false, faults)), incoming(() -> {}));
    assertArrived(ends);
    assertThat(ends.outStatuses())
        .filteredOn(status -> status == MigrationStatus.POSTCOPY_RECOVER)
        .hasSize(6);
  }

  /** Cuts the main connection before the destination's last word arrives. */
  private static Fault beforeTheLastWord() {
    return Fault.cut(Place.beforeRecord(POSTCOPY_COMPLETE));
  }

  @Test
  void theWordThatAllHasComeIsSaidAgainIfItIsLost() {
    Connector line = breaking(false, List.of(), beforeTheLastWord());
    Ends ends = migrate(outgoing(line), incoming(() -> {}));
    assertArrived(ends);
    assertThat(lines).hasSize(4);
    assertThat(transferred(ends.out().info())).isLessThan(BYTES * 105 / 100);
    assertThat(ends.outStatuses())
        .endsWith(
            MigrationStatus.POSTCOPY_PAUSED,
            MigrationStatus.POSTCOPY_RECOVER,
            MigrationStatus.POSTCOPY_ACTIVE,
            MigrationStatus.COMPLETED);
    // There it is complete already: what follows is for the source only.
    assertThat(ends.inStatuses())
        .endsWith(MigrationStatus.POSTCOPY_ACTIVE, MigrationStatus.COMPLETED)
        .doesNotContain(MigrationStatus.POSTCOPY_PAUSED);
  }

  @Test
  void nobodyIsAwaitedWhoCannotCome() {
    Connector line = breaking(true, List.of(Fault.cutAfter(BYTES / 2), Fault.NONE), Fault.NONE);
    Ends ends =
        migrate(
            outgoing(line),
            incoming(() -> transport.acceptor().dispose()).withResume(Duration.ofHours(1)));
    assertThat(ends.in().message())
        .contains("the source cannot come back", "was closed", "the guest runs here and lacks");
  }

  @Test
  void whoHasEverythingEndsWellAlsoIfTheSourceNeverHearsOfIt() {
    Connector line = breaking(true, List.of(Fault.NONE, Fault.NONE), beforeTheLastWord());
    Ends ends = migrate(outgoing(line), incoming(() -> {}).withResume(Duration.ofMillis(300)));
    assertThat(ends.in().error()).isNull();
    assertThat(ends.inStatuses()).endsWith(MigrationStatus.COMPLETED);
    assertThat(ends.out().message())
        .contains("the guest runs at the destination, which may lack pages", "keep this memory");
    assertThat(runsThere).isTrue();
    assertThat(runsHere).isFalse();
    assertThat(source.block(0).segment().mismatch(destination.block(0).segment())).isEqualTo(-1);
  }

  @Test
  void whoWaitsForAPageGoesOnWaitingUntilTheSourceIsGivenUp() throws InterruptedException {
    List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
    Thread[] reader = new Thread[1];
    Ends ends =
        migrate(
            outgoing(breaking(true, Fault.cutAfter(BYTES / 2), Fault.NONE)),
            incoming(
                    () ->
                        // Behind the last page but one that the background comes to.
                        reader[0] =
                            Thread.ofVirtual()
                                .start(
                                    () -> {
                                      try {
                                        for (long at = 0; at < BYTES; at += 4096) {
                                          absentBy.require(0, at, 1);
                                        }
                                      } catch (RuntimeException e) {
                                        failures.add(e);
                                      }
                                    }))
                .withResume(Duration.ofMillis(300)));
    assertThat(ends.out().message())
        .contains(
            "could not be made again", "the guest runs at the destination", "keep this memory");
    assertThat(ends.in().message())
        .contains("the source has not come back within 300 ms", "the guest runs here and lacks");
    assertThat(ends.outStatuses()).endsWith(MigrationStatus.POSTCOPY_PAUSED);
    assertThat(ends.inStatuses()).endsWith(MigrationStatus.POSTCOPY_PAUSED);
    reader[0].join();
    assertThat(failures).hasSize(1);
    assertThat(failures.getFirst())
        .hasMessageContaining("its source is lost")
        .hasMessageContaining("has not come back");
    assertThat(runsHere).isFalse();
  }
}
