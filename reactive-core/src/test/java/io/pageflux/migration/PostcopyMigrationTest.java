package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.convergence.ConvergenceDecision;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.postcopy.PostcopyStatistics;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A guest that runs at the destination before all of its pages are there. */
@Timeout(120)
class PostcopyMigrationTest {

  private static final Duration LIMIT = Duration.ofSeconds(30);

  private final long seed = System.nanoTime();
  private final GuestMemory source = memory();
  private static final ConvergencePolicy.Maker GO_ON =
      limits -> figures -> new ConvergenceDecision.Wait("it goes on");

  private final GuestMemory destination = memory();
  private final VersionedGuest.Truth truth = new VersionedGuest.Truth(source);
  private final VersionedGuest guest = new VersionedGuest(PostcopyMemory.of(source), truth, seed);
  private final PostcopyMemory absentBy = PostcopyMemory.of(destination);
  private final VersionedGuest newGuest = new VersionedGuest(absentBy, truth, seed + 99);
  private InMemoryTransport transport = InMemoryTransport.create();

  private static GuestMemory memory() {
    return GuestMemory.builder()
        .anonymous("ram", 6 << 20)
        .pageSize(16 << 10)
        .memfd("vga", 1 << 20)
        .pageSize(512)
        .anonymous("rom", 64 << 10)
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

  private OutgoingSpec outgoing() {
    return outgoing(transport.connector());
  }

  private OutgoingSpec outgoing(Connector connector) {
    return OutgoingSpec.of(source, guest, connector)
        .withGeometry(new BatchGeometry(16, 64 << 10))
        .withSlabs(4)
        .withPostcopy(OutgoingPostcopySpec.DEFAULT)
        .withDowntimeLimit(Duration.ZERO)
        .withPolicy(PostcopyPolicy.after(LimitPolicy::new, 1, Duration.ofHours(1)));
  }

  private IncomingSpec incoming() {
    return IncomingSpec.of(destination, newGuest, transport.acceptor()).withPostcopy(absentBy);
  }

  private record Both(MigrationInfo out, MigrationInfo in) {}

  private Both migrate(Flux<MigrationEvent> out) {
    Both both =
        Mono.zip(MigrationRun.result(out), IncomingMigration.of(incoming()).run(), Both::new)
            .block(LIMIT);
    return Objects.requireNonNull(both);
  }

  private record Ends(End out, End in) {}

  private Ends ends(Mono<MigrationInfo> out, Mono<MigrationInfo> in) {
    Mono<End> inEnd = in.materialize().map(s -> new End(s.get(), s.getThrowable())).cache();
    inEnd.subscribe();
    End outEnd = End.of(out);
    return new Ends(outEnd, Objects.requireNonNull(inEnd.block(LIMIT)));
  }

  private static PostcopyStatistics postcopy(MigrationInfo info) {
    return Objects.requireNonNull(info.postcopy(), "no post-copy");
  }

  private void assertArrived(Both both) {
    String what = "seed " + seed;
    assertThat(guest.running).as(what).isFalse();
    assertThat(newGuest.running).as(what).isTrue();
    newGuest.stop();
    newGuest.verify();
    assertThat(absentBy.absent()).isNull();
    PostcopyStatistics sent = postcopy(both.out());
    PostcopyStatistics had = postcopy(both.in());
    assertThat(both.out().status()).isEqualTo(MigrationStatus.COMPLETED);
    assertThat(both.in().status()).isEqualTo(MigrationStatus.COMPLETED);
    assertThat(sent.absentPages()).as(what).isEqualTo(had.absentPages());
    assertThat(sent.pushedPages() + sent.demandedPages()).as(what).isEqualTo(sent.absentPages());
    assertThat(had.pushedPages()).as(what).isEqualTo(sent.pushedPages());
    assertThat(had.demandedPages()).as(what).isEqualTo(sent.demandedPages());
    // The last ones may have met the pages that they were for, and the end.
    assertThat(sent.requests()).as(what).isLessThanOrEqualTo(had.requests());
    assertThat(had.latency().count()).as(what).isLessThanOrEqualTo(had.requests());
    assertThat(sent.precopyBytes() + sent.downtimeBytes() + sent.postcopyBytes())
        .as(what)
        .isEqualTo(both.out().ram().transferred());
  }

  @Test
  void theGuestRunsOnAtTheDestinationBeforeItsPagesAreThere() {
    guest.fill();
    guest.start();
    Both both = migrate(OutgoingMigration.of(outgoing()).events());
    assertThat(postcopy(both.out()).absentPages()).isPositive();
    assertThat(both.out().steps())
        .anyMatch(step -> step.kind() == ConvergenceStep.Kind.START_POSTCOPY);
    assertArrived(both);
  }

  @Test
  void aCommandLeavesTheRoundThatIsUnderWay() {
    guest.fill();
    guest.start();
    OutgoingMigration out =
        OutgoingMigration.of(outgoing().withPolicy(LimitPolicy::new).withMaxRounds(100));
    Both both =
        migrate(
            out.events()
                .doOnNext(
                    event -> {
                      if (event instanceof MigrationEvent.RoundStarted(int round, boolean l, long d)
                          && round == 1) {
                        out.startPostcopy().subscribe();
                      }
                    }));
    assertThat(both.out().rounds()).hasSize(1);
    RoundReport round = both.out().rounds().getFirst();
    // Hardly anything was read, and what was not is absent.
    assertThat(postcopy(both.out()).absentPages()).isGreaterThan(round.dirtyPages() / 2);
    assertThat(round.zeroPages() + round.rawPages() + round.unchangedPages())
        .isLessThan(round.dirtyPages());
    assertArrived(both);
  }

  @Test
  void manyGuestsUnderRandomConditions() {
    for (int i = 0; i < 12; i++) {
      guest.fill();
      guest.start();
      int rounds = i % 3;
      OutgoingSpec spec =
          outgoing()
              .withCompression(i % 2 == 0 ? null : new CompressionSpec(1, 2))
              .withXbzrle(i % 4 < 2 ? null : outgoing().xbzrle())
              .withMaxBandwidth(i % 5 == 4 ? 40 << 20 : 0)
              .withPolicy(PostcopyPolicy.after(GO_ON, rounds, Duration.ofHours(1)));
      newGuest.restNanos = i % 2 == 0 ? 0 : 20_000;
      assertArrived(migrate(OutgoingMigration.of(spec).events()));
    }
  }

  @Test
  void aGuestThatHasWrittenNothingIsCompleteAtOnce() {
    guest.fill();
    Both both = migrate(OutgoingMigration.of(outgoing().withTracker(ReportedWrites::new)).events());
    assertThat(both.out().postcopy()).isNull(); // the rest fits any downtime
    assertThat(newGuest.running).isTrue();
    newGuest.stop();
    newGuest.verify();
    OutgoingMigration out =
        OutgoingMigration.of(
            outgoing()
                .withTracker(ReportedWrites::new)
                .withPolicy(PostcopyPolicy.after(GO_ON, 1, Duration.ofHours(1))));
    guest.fill(); // the guest has written elsewhere since
    Both again = migrate(out.events());
    assertThat(postcopy(again.out()).absentPages()).isZero();
    assertArrived(again);
  }

  @Test
  void aDestinationThatCannotIsMigratedToWithoutIt() {
    guest.fill();
    guest.start();
    AtomicReference<@Nullable Throwable> refused = new AtomicReference<>();
    OutgoingMigration out = OutgoingMigration.of(outgoing().withMaxRounds(3));
    MigrationInfo info =
        Mono.zip(
                MigrationRun.result(
                    out.events()
                        .doOnNext(
                            event -> {
                              if (event instanceof MigrationEvent.RoundStarted) {
                                out.startPostcopy().subscribe(v -> {}, refused::set);
                              }
                            })),
                IncomingMigration.of(incoming().withPostcopy(null)).run(),
                (sent, had) -> sent)
            .block(LIMIT);
    assertThat(Objects.requireNonNull(info).postcopy()).isNull();
    assertThat(info.steps())
        .filteredOn(step -> step.kind() == ConvergenceStep.Kind.POSTCOPY_REFUSED)
        .hasSize(1);
    assertThat(refused.get())
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("was not agreed on");
    newGuest.stop();
    newGuest.verify();
  }

  /** Connections in the order in which they are made: the main one, then the lane. */
  private static final class Lines implements Connector {
    final AtomicInteger made = new AtomicInteger();
    private final TapedLine[] lines;

    Lines(Connector connector, Fault mainThere, Fault mainBack, Fault laneThere, Fault laneBack) {
      lines =
          new TapedLine[] {
            new TapedLine(connector, mainThere, mainBack),
            new TapedLine(connector, laneThere, laneBack)
          };
    }

    @Override
    public Mono<? extends Connection> connect() {
      return Mono.defer(() -> lines[made.getAndIncrement()].connector().connect());
    }

    TapedLine main() {
      return lines[0];
    }

    TapedLine lane() {
      return lines[1];
    }

    void assertNothingUnreleased(String what) {
      for (TapedLine line : lines) {
        assertThat(line.there().outstanding()).as(what).isZero();
        assertThat(line.back().outstanding()).as(what).isZero();
      }
    }
  }

  private Lines lines(Fault mainThere, Fault mainBack, Fault laneThere, Fault laneBack) {
    transport.acceptor().dispose();
    transport = InMemoryTransport.create();
    return new Lines(transport.connector(), mainThere, mainBack, laneThere, laneBack);
  }

  /** What holds however a migration ends. */
  private void assertOneGuestAndNoWrongPage(String what, Lines lines, Ends ends) {
    assertThat(guest.running && newGuest.running).as(what).isFalse();
    lines.assertNothingUnreleased(what);
    for (End end : new End[] {ends.out(), ends.in()}) {
      for (Throwable e = end.error(); e != null; e = e.getCause()) {
        assertThat(e.toString()).as(what).doesNotContain("not released");
      }
    }
    if (ends.out().error() == null) {
      assertThat(newGuest.running).as(what).isTrue();
      newGuest.stop();
      newGuest.verify();
    } else if (!newGuest.running && !ends.out().message().contains("stays paused here")) {
      assertThat(guest.running).as(what + ": " + ends).isTrue();
      guest.stop();
      guest.verify();
    } else if (newGuest.running) {
      // It has come upon nothing wrong: it goes as far as its memory is there.
      assertThat(guest.running).as(what).isFalse();
      if (ends.in().error() != null && ends.in().message().contains("the guest runs here")) {
        newGuest.stop();
        AbsentPages absent = Objects.requireNonNull(absentBy.absent());
        assertThat(absent.lost()).as(what).isNotNull();
        assertThat(absent.waitedFor()).as(what).isZero();
      }
    }
    newGuest.stop();
    Throwable wrong = newGuest.wrong;
    if (wrong != null) {
      assertThat(wrong)
          .as(what)
          .isInstanceOf(io.pageflux.MigrationException.class)
          .hasMessageContaining("is not here, and its source is lost");
    }
    newGuest.wrong = null;
    guest.stop();
  }

  private Ends attempt(Lines lines) {
    guest.fill();
    guest.start();
    return ends(
        OutgoingMigration.of(outgoing(lines).withPeerTimeout(Duration.ofSeconds(5))).run(),
        IncomingMigration.of(incoming().withPeerTimeout(Duration.ofSeconds(5))).run());
  }

  @Test
  void aLineThatBreaksAnywhereLeavesOneGuestAndNoWrongPage() {
    Lines good = lines(Fault.NONE, Fault.NONE, Fault.NONE, Fault.NONE);
    assertOneGuestAndNoWrongPage("without a fault", good, attempt(good));
    int main = WireBytes.records(good.main().there().bytes()).size();
    // From the end of pre-copy on, which is what is new, and a few before.
    int from = Math.max(1, main - 40);
    for (int n = from; n <= main + 2; n += 4) {
      Lines cut = lines(Fault.cut(Place.afterBuffers(n)), Fault.NONE, Fault.NONE, Fault.NONE);
      assertOneGuestAndNoWrongPage("main cut after " + n, cut, attempt(cut));
    }
    for (int n = 1; n <= 6; n += 2) {
      Lines cut = lines(Fault.NONE, Fault.NONE, Fault.cut(Place.afterBuffers(n)), Fault.NONE);
      assertOneGuestAndNoWrongPage("lane cut after " + n, cut, attempt(cut));
      Lines back = lines(Fault.NONE, Fault.NONE, Fault.NONE, Fault.cut(Place.afterBuffers(n)));
      assertOneGuestAndNoWrongPage("lane back cut after " + n, back, attempt(back));
    }
    for (int n = 3; n <= 9; n++) {
      Lines back = lines(Fault.NONE, Fault.cut(Place.afterBuffers(n)), Fault.NONE, Fault.NONE);
      assertOneGuestAndNoWrongPage("main back cut after " + n, back, attempt(back));
    }
  }

  @Test
  void aDamagedPageOnTheLaneIsNotTakenForOne() {
    Lines damaged = lines(Fault.NONE, Fault.NONE, Fault.flip(300), Fault.NONE);
    Ends ends = attempt(damaged);
    assertOneGuestAndNoWrongPage("seed " + seed, damaged, ends);
    if (ends.in().error() != null) {
      assertThat(ends.in().failure().kind()).isIn(Kind.INTEGRITY);
      assertThat(ends.in().message()).contains("lacks");
    }
  }

  @Test
  void whoLosesTheOtherSideInPostcopySaysWhereTheGuestIs() {
    guest.fill();
    guest.start();
    Lines lines = lines(Fault.NONE, Fault.NONE, Fault.NONE, Fault.NONE);
    AtomicReference<@Nullable Connection> main = new AtomicReference<>();
    Connector noted = () -> lines.connect().doOnNext(c -> main.compareAndSet(null, c));
    AtomicReference<@Nullable MigrationStatus> last = new AtomicReference<>();
    Ends ends =
        ends(
            MigrationRun.result(
                OutgoingMigration.of(outgoing(noted).withMaxBandwidth(20 << 20))
                    .events()
                    .doOnNext(
                        event -> {
                          if (event instanceof MigrationEvent.StatusChanged(MigrationStatus now)) {
                            last.set(now);
                            if (now == MigrationStatus.POSTCOPY_ACTIVE) {
                              Objects.requireNonNull(main.get()).dispose();
                            }
                          }
                        })),
            IncomingMigration.of(incoming()).run());
    assertThat(ends.out().message())
        .contains("the guest runs at the destination, which may lack pages that are only here");
    assertThat(ends.in().message()).contains("the guest runs here and lacks");
    assertThat(last.get()).isEqualTo(MigrationStatus.POSTCOPY_PAUSED);
    assertThat(newGuest.running).isTrue();
    assertOneGuestAndNoWrongPage("seed " + seed, lines, ends);
  }

  @Test
  void whatAnAbandonedPostcopyHasLeftAbsentIsHereAfterAMigrationWithoutOne() {
    guest.fill();
    guest.start();
    Guest refusing =
        new Guest() {
          @Override
          public Mono<Void> pause() {
            return newGuest.pause();
          }

          @Override
          public Mono<Void> resume() {
            return newGuest.resume();
          }

          @Override
          public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
            return Mono.error(new IllegalStateException("not this one"));
          }
        };
    Ends abandoned =
        ends(
            OutgoingMigration.of(outgoing()).run(),
            IncomingMigration.of(
                    IncomingSpec.of(destination, refusing, transport.acceptor())
                        .withPostcopy(absentBy))
                .run());
    assertThat(abandoned.in().message()).contains("not this one");
    assertThat(abandoned.out().error()).isNotNull();
    assertThat(guest.running).isTrue();
    assertThat(Objects.requireNonNull(absentBy.absent()).missing()).isPositive();
    Ends whole =
        ends(
            OutgoingMigration.of(outgoing().withPolicy(LimitPolicy::new).withMaxRounds(2)).run(),
            IncomingMigration.of(incoming()).run());
    assertThat(whole.out().error()).isNull();
    assertThat(whole.in().error()).isNull();
    assertThat(absentBy.absent()).isNull();
    newGuest.stop();
    newGuest.verify();
    assertThat(newGuest.wrong).isNull();
  }

  @Test
  void nobodyStopsItOnceTheGuestRunsAtTheDestination() {
    guest.fill();
    guest.start();
    Sinks.Empty<Void> stop = Sinks.empty();
    Both both =
        Mono.zip(
                MigrationRun.result(
                    OutgoingMigration.of(outgoing())
                        .events(stop.asMono())
                        .doOnNext(
                            event -> {
                              if (event
                                  instanceof MigrationEvent.StatusChanged(MigrationStatus now)) {
                                if (now == MigrationStatus.POSTCOPY_ACTIVE) {
                                  stop.tryEmitEmpty();
                                }
                              }
                            })),
                MigrationRun.result(IncomingMigration.of(incoming()).events(stop.asMono())),
                Both::new)
            .block(LIMIT);
    assertArrived(Objects.requireNonNull(both));
  }

  @Test
  void whoStopsItBeforeThatHasTheGuestGoOnAndTheNextAttemptSucceeds() {
    guest.fill();
    guest.start();
    Sinks.Empty<Void> stop = Sinks.empty();
    Ends ends =
        ends(
            MigrationRun.result(
                OutgoingMigration.of(outgoing())
                    .events(stop.asMono())
                    .doOnNext(
                        event -> {
                          if (event instanceof MigrationEvent.SwitchOver) {
                            stop.tryEmitEmpty();
                          }
                        })),
            IncomingMigration.of(incoming()).run());
    assertThat(ends.out().failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(ends.in().error()).isNotNull();
    assertThat(guest.running).isTrue();
    assertThat(newGuest.running).isFalse();
    lines(Fault.NONE, Fault.NONE, Fault.NONE, Fault.NONE);
    assertArrived(migrate(OutgoingMigration.of(outgoing()).events()));
  }

  @Test
  void theSourcesMemoryIsGivenBackOnlyWhenAllPagesHaveCome() throws InterruptedException {
    guest.fill();
    guest.start();
    AtomicReference<@Nullable AbsentPages> atRelease = new AtomicReference<>();
    CountDownLatch released = new CountDownLatch(1);
    Both both =
        migrate(
            OutgoingMigration.of(outgoing().withReleaseRam(true))
                .events()
                .doOnNext(
                    event -> {
                      if (event instanceof MigrationEvent.RamReleased) {
                        atRelease.set(absentBy.absent());
                        released.countDown();
                      }
                    }));
    released.await();
    assertThat(atRelease.get()).isNull();
    assertArrived(both);
  }
}
