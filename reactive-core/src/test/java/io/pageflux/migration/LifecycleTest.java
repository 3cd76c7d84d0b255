package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.SwitchOverCost;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** The turns of a migration's life: setup, rounds, the pause before the switch-over, the end. */
@Timeout(60)
class LifecycleTest {

  private static final Duration SOON = Duration.ofMillis(300);

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

  private record Ends(End out, End in) {}

  private Ends migrate(Mono<MigrationInfo> out, IncomingSpec in) {
    var both =
        Mono.zip(out.materialize(), IncomingMigration.of(in).run().materialize()).block(End.LIMIT);
    Objects.requireNonNull(both);
    return new Ends(
        new End(both.getT1().get(), both.getT1().getThrowable()),
        new End(both.getT2().get(), both.getT2().getThrowable()));
  }

  private Ends migrate(OutgoingSpec out) {
    return migrate(source.migrate(out), incoming());
  }

  private OutgoingSpec outgoing() {
    return source.outgoing(transport.connector());
  }

  private IncomingSpec incoming() {
    return destination.incoming(transport.acceptor());
  }

  // Setup.

  /** Tells when it is closed. */
  private record Closing(DirtyTracker tracker, List<String> freed) implements DirtyTracker {
    @Override
    public String name() {
      return tracker.name();
    }

    @Override
    public void start() {
      tracker.start();
    }

    @Override
    public long collect(MemoryPages into) {
      return tracker.collect(into);
    }

    @Override
    public void close() {
      freed.add("tracker");
      tracker.close();
    }
  }

  /** Something of what a source takes that is not to be had. */
  private enum Scarce {
    TRACKER("no tracker"),
    SLABS("no memory for 1073741824 batches"),
    DELTA_CACHE("mmap");

    private final String message;

    Scarce(String message) {
      this.message = message;
    }

    OutgoingSpec of(OutgoingSpec spec) {
      return switch (this) {
        case TRACKER ->
            spec.withTracker(
                memory -> {
                  throw new IllegalStateException(message);
                });
        case SLABS -> spec.withSlabs(1 << 30); // not even their list fits the heap
        case DELTA_CACHE -> spec.withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(1L << 46));
      };
    }
  }

  @ParameterizedTest
  @EnumSource
  void aSetupThatFailsHalfWayFreesWhatItMade(Scarce scarce) {
    List<String> freed = new CopyOnWriteArrayList<>();
    OutgoingSpec failing =
        scarce.of(outgoing().withTracker(memory -> new Closing(new ReportedWrites(memory), freed)));
    long before = Leftovers.addressSpaceBytes();
    // So much of the address space is taken that what the deltas need is not to be had.
    try (GuestMemory hog = GuestMemory.builder().anonymous("hog", 66L << 40).build()) {
      End end = End.of(source.migrate(failing));
      assertThat(end.message()).as("" + hog).contains(scarce.message);
    }
    assertThat(freed.isEmpty()).isEqualTo(scarce == Scarce.TRACKER);
    assertThat(Leftovers.addressSpaceBytes() - before).isLessThan(200L << 20);
    assertThat(source.running).isTrue();
    // And the same guest can be migrated afterwards.
    assertThat(migrate(outgoing()).out.error()).isNull();
    assertThat(source.sameMemory(destination)).isTrue();
  }

  @Test
  void aDestinationThatCannotBeReachedLeavesNothingBehind() {
    OutgoingSpec unreachable =
        source.outgoing(() -> Mono.error(new IllegalStateException("no route")));
    assertThat(End.of(source.migrate(unreachable)).message()).contains("no route");
    assertThat(source.running).isTrue();
    assertThat(migrate(outgoing()).out.error()).isNull();
    assertThat(source.sameMemory(destination)).isTrue();
  }

  @Test
  void aDestinationWhoseMemoryIsGoneSaysSoAndLetsGo() {
    GuestMemory gone =
        GuestMemory.builder().pageSize(512).anonymous("ram", 3072).memfd("vga", 512).build();
    gone.close();
    IncomingSpec poor =
        IncomingSpec.of(gone, destination, transport.acceptor())
            .withWorkers(1)
            .withMaxGeometry(TinyGuest.GEOMETRY);
    Ends ends = migrate(source.migrate(outgoing()), poor);
    assertThat(ends.in.error()).isNotNull();
    assertThat(ends.out.error()).isNotNull();
    assertThat(source.running).isTrue();
    assertThat(destination.resumes).hasValue(0);
    assertThat(migrate(outgoing()).out.error()).isNull();
    assertThat(source.sameMemory(destination)).isTrue();
  }

  @Test
  void aDestinationThatCannotListenLeavesNothingBehind() {
    Acceptor deaf =
        new Acceptor() {
          @Override
          public Mono<Connection> accept() {
            return Mono.error(new IllegalStateException("no port"));
          }

          @Override
          public String address() {
            return "nowhere";
          }

          @Override
          public void dispose() {}
        };
    End end = End.of(destination.receive(deaf));
    assertThat(end.message()).contains("no port");
    assertThat(destination.resumes).hasValue(0);
    assertThat(migrate(outgoing()).in.error()).isNull();
  }

  @Test
  void whoeverFailsInSetupTheOtherIsToldAndLetsGo() {
    IncomingSpec small = incoming().withMaxGeometry(new BatchGeometry(1, 4096));
    Ends ends = migrate(source.migrate(outgoing()), small);
    assertThat(ends.out.failure().isFromPeer()).isTrue();
    assertThat(ends.in.message()).contains("this side takes no more than 1 pages");
    assertThat(source.running).isTrue();
    assertThat(destination.resumes).hasValue(0);
  }

  @Test
  void nothingIsCommittedBeforeTheDestinationHasSaidThatItIsPrepared() {
    ScriptedPeer peer =
        new ScriptedPeer(
            (p, type) -> {
              switch (type) {
                case WireBytes.HELLO ->
                    p.say(
                        new WireRecord.Hello(
                            1, 1, Feature.migration(), 0, new UUID(1, 2), 0, 1, "t"));
                case WireBytes.LAYOUT -> p.say(new WireRecord.Ready());
                case WireBytes.ROUND_END -> p.close();
                default -> {}
              }
            });
    End end = End.of(source.migrate(peer.connector()));
    assertThat(end.error()).isNotNull();
    assertThat(peer.heardTypes()).doesNotContain(WireBytes.COMMIT);
    assertThat(source.running).isTrue();
  }

  // Hooks.

  /** Notes what it is called for, and then does something. */
  private static final class Noting implements MigrationHooks {
    final List<String> notes = new CopyOnWriteArrayList<>();
    private final String name;
    private final Mono<Void> before;
    private final Mono<Void> after;

    Noting(String name, Mono<Void> before, Mono<Void> after) {
      this.name = name;
      this.before = before;
      this.after = after;
    }

    @Override
    public Mono<Void> beforeRound(Round round) {
      notes.add(name + " before " + round.round() + (round.last() ? " (last)" : ""));
      return before;
    }

    @Override
    public Mono<Void> afterRound(RoundReport report) {
      notes.add(name + " after " + report.round());
      return after;
    }
  }

  @Test
  void hooksAreCalledBeforeAndAfterEachRoundAtBothSides() {
    Noting there = new Noting("in", Mono.empty(), Mono.empty());
    Noting here = new Noting("out", Mono.empty(), Mono.empty());
    Ends ends = migrate(source.migrate(outgoing().withHooks(here)), incoming().withHooks(there));
    assertThat(ends.out.error()).isNull();
    assertThat(ends.in.error()).isNull();
    assertThat(source.sameMemory(destination)).isTrue();
    assertThat(here.notes)
        .containsExactly(
            "out before 1",
            "out after 1",
            "out before 2",
            "out after 2",
            "out before 3 (last)",
            "out after 3");
    assertThat(there.notes)
        .containsExactly(
            "in before 1",
            "in after 1",
            "in before 2",
            "in after 2",
            "in before 3 (last)",
            "in after 3");
  }

  private void assertHookEnds(Mono<Void> before, Mono<Void> after, Kind kind, String reason) {
    for (boolean atSource : new boolean[] {true, false}) {
      source.reset();
      destination.clear();
      Noting hooks = new Noting("x", before, after);
      OutgoingSpec out = outgoing().withPeerTimeout(SOON);
      IncomingSpec in = incoming().withPeerTimeout(SOON);
      Ends ends =
          migrate(
              source.migrate(atSource ? out.withHooks(hooks) : out),
              atSource ? in : in.withHooks(hooks));
      End end = atSource ? ends.out : ends.in;
      End other = atSource ? ends.in : ends.out;
      assertThat(end.failure().kind()).isEqualTo(kind);
      assertThat(end.message()).isEqualTo(reason);
      assertThat(other.message()).contains(reason);
      assertThat(source.running).isTrue();
      assertThat(destination.resumes).hasValue(0);
    }
  }

  @Test
  void aHookThatFailsEndsTheMigrationAndTheReasonIsTold() {
    Mono<Void> failing = Mono.error(new IllegalStateException("no"));
    assertHookEnds(failing, Mono.empty(), Kind.INTERNAL, "the hook before round 1 failed: no");
    assertHookEnds(Mono.empty(), failing, Kind.INTERNAL, "the hook after round 1 failed: no");
    Mono<Void> known = Mono.error(MigrationException.of(Kind.NOT_CONVERGED, "it is of no use"));
    assertHookEnds(
        known, Mono.empty(), Kind.NOT_CONVERGED, "the hook before round 1 failed: it is of no use");
  }

  @Test
  void aHookThatHangsIsCancelledAndTheMigrationEnds() {
    AtomicInteger cancelled = new AtomicInteger();
    Mono<Void> hanging = Mono.<Void>never().doOnCancel(cancelled::incrementAndGet);
    assertHookEnds(
        hanging, Mono.empty(), Kind.TIMEOUT, "the hook before round 1 took longer than 300 ms");
    assertHookEnds(
        Mono.empty(), hanging, Kind.TIMEOUT, "the hook after round 1 took longer than 300 ms");
    assertThat(cancelled).hasValue(4);
  }

  @Test
  void aHookThatBlocksIsInterrupted() {
    AtomicInteger interrupted = new AtomicInteger();
    Mono<Void> blocking =
        Mono.fromRunnable(
            () -> {
              try {
                new java.util.concurrent.CountDownLatch(1).await();
              } catch (InterruptedException e) {
                interrupted.incrementAndGet();
              }
            });
    assertHookEnds(
        blocking, Mono.empty(), Kind.TIMEOUT, "the hook before round 1 took longer than 300 ms");
  }

  @Test
  void aMigrationThatIsStoppedDuringAHookEnds() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Noting hooks =
        new Noting("out", Mono.<Void>never().doOnSubscribe(s -> stop.tryEmitEmpty()), Mono.empty());
    Ends ends =
        migrate(
            MigrationRun.result(
                OutgoingMigration.of(outgoing().withHooks(hooks)).events(stop.asMono())),
            incoming());
    assertThat(ends.out.failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(source.running).isTrue();
  }

  // The pause before the switch-over.

  private Ends migrateWatched(OutgoingSpec spec, Mono<?> stop, Listener listener) {
    OutgoingMigration migration = OutgoingMigration.of(spec);
    return migrate(
        MigrationRun.result(
            migration
                .events(stop)
                .doOnNext(source::write)
                .doOnNext(event -> listener.heard(migration, event))),
        incoming());
  }

  private interface Listener {
    void heard(OutgoingMigration migration, MigrationEvent event);
  }

  private static boolean waits(MigrationEvent event) {
    return event.equals(new MigrationEvent.StatusChanged(MigrationStatus.PRE_SWITCHOVER));
  }

  @Test
  void theMigrationWaitsWithTheGuestPausedUntilItIsContinued() {
    List<MigrationStatus> statuses = new ArrayList<>();
    AtomicReference<Boolean> ran = new AtomicReference<>();
    Ends ends =
        migrateWatched(
            outgoing().withPauseBeforeSwitchover(Duration.ofSeconds(20)),
            Mono.never(),
            (migration, event) -> {
              if (event instanceof MigrationEvent.StatusChanged(MigrationStatus status)) {
                statuses.add(status);
              }
              if (waits(event)) {
                ran.set(source.running);
                migration.continueMigration().block();
              }
            });
    assertThat(ends.out.error()).isNull();
    assertThat(ends.in.error()).isNull();
    assertThat(ran.get()).isFalse();
    assertThat(source.sameMemory(destination)).isTrue();
    assertThat(statuses)
        .containsExactly(
            MigrationStatus.SETUP,
            MigrationStatus.ACTIVE,
            MigrationStatus.PRE_SWITCHOVER,
            MigrationStatus.DEVICE,
            MigrationStatus.COMPLETED);
  }

  @Test
  void aPauseThatNobodyEndsIsLimitedAndTheGuestGoesOn() {
    Ends ends =
        migrateWatched(
            outgoing().withPauseBeforeSwitchover(Duration.ofMillis(50)),
            Mono.never(),
            (migration, event) -> {});
    assertThat(ends.out.failure().kind()).isEqualTo(Kind.TIMEOUT);
    assertThat(ends.out.message()).contains("nobody continued the migration");
    assertThat(source.running).isTrue();
    assertThat(destination.resumes).hasValue(0);
  }

  @Test
  void aPausedMigrationCanBeStopped() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Ends ends =
        migrateWatched(
            outgoing().withPauseBeforeSwitchover(Duration.ofSeconds(20)),
            stop.asMono(),
            (migration, event) -> {
              if (waits(event)) {
                stop.tryEmitEmpty();
              }
            });
    assertThat(ends.out.failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(source.running).isTrue();
    assertThat(destination.resumes).hasValue(0);
  }

  @Test
  void onlyAMigrationThatWaitsIsContinued() {
    OutgoingMigration migration = OutgoingMigration.of(outgoing());
    assertThatThrownBy(() -> migration.continueMigration().block())
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("no migration is under way");
    List<Throwable> refusals = new ArrayList<>();
    migrateWatched(
        outgoing().withPauseBeforeSwitchover(Duration.ofSeconds(20)),
        Mono.never(),
        (running, event) -> {
          if (event instanceof MigrationEvent.RoundCompleted) {
            running.continueMigration().subscribe(v -> {}, refusals::add);
          } else if (waits(event)) {
            running.continueMigration().block();
          }
        });
    assertThat(refusals)
        .isNotEmpty()
        .allSatisfy(e -> assertThat(e).hasMessageContaining("pre-switchover"));
  }

  // What is pending.

  @Test
  void theEstimateIsWhatIsKnownAndTheExactFigureIsCollected() {
    List<Pending> pending = new ArrayList<>();
    Ends ends =
        migrateWatched(
            outgoing().withPauseBeforeSwitchover(Duration.ofSeconds(20)),
            Mono.never(),
            (migration, event) -> {
              if (waits(event)) {
                // In the two pages that were written after round 2, and one that was not yet seen.
                source.tracker.putLong(0, 2560, 9);
                pending.add(Objects.requireNonNull(migration.pendingEstimate().block()));
                migration
                    .pendingExact()
                    .doOnNext(pending::add)
                    .then(migration.continueMigration())
                    .subscribe();
              }
            });
    assertThat(ends.out.error()).isNull();
    assertThat(pending).extracting(Pending::bytes).containsExactly(1024L, 1536L);
    assertThat(pending).extracting(Pending::exact).containsExactly(false, true);
    // What it found has been sent, as if the migration had found it.
    assertThat(source.sameMemory(destination)).isTrue();
  }

  @Test
  void nothingIsPendingOfWhatIsNotUnderWay() {
    OutgoingMigration migration = OutgoingMigration.of(outgoing());
    assertThatThrownBy(() -> migration.pendingEstimate().block())
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> migration.pendingExact().block())
        .isInstanceOf(IllegalStateException.class);
  }

  // The source's memory at the end.

  /**
   * Whether the page at an address has memory behind it, by /proc/self/pagemap. (What smaps tells
   * is of a whole mapping, and the kernel makes one of neighbours that are alike.)
   */
  private static boolean isResident(long address) {
    try (RandomAccessFile pagemap = new RandomAccessFile("/proc/self/pagemap", "r")) {
      pagemap.seek(address / 4096 * Long.BYTES);
      return Long.reverseBytes(pagemap.readLong()) >>> 62 != 0; // present or swapped
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void theSourcesMemoryIsGivenBackOnlyWhenTheGuestRunsAtTheDestination() {
    AtomicReference<MigrationEvent> released = new AtomicReference<>();
    Consumer<MigrationEvent> watch =
        event -> {
          if (event instanceof MigrationEvent.RamReleased) {
            assertThat(destination.running).isTrue();
            released.set(event);
          }
        };
    Ends ends =
        migrateWatched(
            outgoing().withReleaseRam(true), Mono.never(), (migration, e) -> watch.accept(e));
    assertThat(ends.out.error()).isNull();
    assertThat(released.get()).isEqualTo(new MigrationEvent.RamReleased(3072 + 512, null));
    for (var block : source.memory.blocks()) {
      assertThat(isResident(block.segment().address())).as("" + block).isFalse();
      assertThat(block.segment().toArray(java.lang.foreign.ValueLayout.JAVA_BYTE))
          .containsOnly((byte) 0);
    }
    assertThat(
            destination.memory.block(0).segment().get(java.lang.foreign.ValueLayout.JAVA_BYTE, 512))
        .isEqualTo((byte) 'a');
  }

  @Test
  void aSourceWhoseMigrationFailsKeepsItsMemory() {
    Noting failing = new Noting("in", Mono.empty(), Mono.error(new IllegalStateException("no")));
    Ends ends =
        migrate(source.migrate(outgoing().withReleaseRam(true)), incoming().withHooks(failing));
    assertThat(ends.out.error()).isNotNull();
    assertThat(source.running).isTrue();
    assertThat(source.memory.block(0).segment().get(java.lang.foreign.ValueLayout.JAVA_BYTE, 512))
        .isEqualTo((byte) 'a');
  }

  // What a switch-over costs.

  @Test
  void aMigrationLearnsWhatItsSwitchOverCosts() {
    SwitchOverCost cost = SwitchOverCost.of(Duration.ofDays(1));
    assertThat(migrate(outgoing().withSwitchOverCost(cost)).out().error()).isNull();
    assertThat(cost.isLearned()).isTrue();
    assertThat(cost.expected()).isLessThan(Duration.ofDays(1));
  }

  @Test
  void aSwitchOverThatFailsHasTaughtWhatWasDone() {
    SwitchOverCost cost = SwitchOverCost.of(Duration.ZERO);
    Guest broken =
        new Guest() {
          @Override
          public Mono<Void> pause() {
            return Mono.empty();
          }

          @Override
          public Mono<Void> resume() {
            return Mono.empty();
          }

          @Override
          public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
            return Mono.error(new IOException("no such device"));
          }
        };
    IncomingSpec in = IncomingSpec.of(destination.memory, broken, transport.acceptor());
    Ends ends = migrate(source.migrate(outgoing().withSwitchOverCost(cost)), in);
    assertThat(ends.out().error()).hasMessageContaining("no such device");
    assertThat(cost.expected()).as("the pause and the state").isPositive();
    assertThat(cost.isLearned()).as("nothing was started").isFalse();
  }
}
