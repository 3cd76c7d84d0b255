package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.InMemoryTransport;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;

@Timeout(120)
class OutgoingControlTest {

  private static final Duration LIMIT = Duration.ofSeconds(60);

  private final GuestMemory source = GuestMemory.builder().anonymous("ram", 16 << 20).build();
  private final GuestMemory destination = GuestMemory.builder().anonymous("ram", 16 << 20).build();
  private final WritingGuest guest = new WritingGuest(source, new AtomicInteger(), new byte[0]);
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final OutgoingControl control = new OutgoingControl();
  private final List<MigrationEvent> seen = new ArrayList<>();

  @BeforeEach
  void fill() {
    Random random = new Random(1);
    for (long i = 0; i < source.sizeBytes(); i += 8) {
      source.block(0).segment().set(ValueLayout.JAVA_LONG, i, random.nextLong() & 0xFFFFFF);
    }
    guest.start();
  }

  @AfterEach
  void close() {
    guest.stop();
    transport.acceptor().dispose();
    source.close();
    destination.close();
    Leftovers.assertNoThreads();
  }

  private OutgoingSpec spec() {
    return OutgoingSpec.of(source, guest, transport.connector())
        .withProgressInterval(Duration.ofMillis(20));
  }

  /** Migrates; each event is seen by the listener while the migration goes on. */
  private @Nullable Throwable migrate(OutgoingSpec spec, Consumer<MigrationEvent> listener) {
    Mono<MigrationInfo> out =
        MigrationRun.result(
            OutgoingMigration.of(spec)
                .events(control)
                .doOnNext(
                    event -> {
                      seen.add(event);
                      listener.accept(event);
                    }));
    Mono<MigrationInfo> in =
        IncomingMigration.of(
                IncomingSpec.of(destination, Guest.passive(), transport.acceptor())
                    .withPeerTimeout(spec.peerTimeout()))
            .run();
    return Objects.requireNonNull(Mono.zip(out.materialize(), in.materialize()).block(LIMIT))
        .getT1()
        .getThrowable();
  }

  private void assertMoved(@Nullable Throwable failure) {
    assertThat(failure).isNull();
    assertThat(source.block(0).segment().mismatch(destination.block(0).segment())).isEqualTo(-1);
  }

  private static int completedRound(MigrationEvent event) {
    return event instanceof MigrationEvent.RoundCompleted(RoundReport report) ? report.round() : 0;
  }

  @Test
  void whateverIsChangedWhileTheGuestWritesItMovesByteForByte() {
    assertMoved(
        migrate(
            spec()
                .withCompression(null)
                .withXbzrle(null)
                .withDowntimeLimit(Duration.ZERO)
                .withMaxRounds(9),
            event -> {
              switch (completedRound(event)) {
                case 1 -> control.set(p -> p.withXbzrle(new XbzrleSpec(4 << 20, true)));
                case 2 -> control.set(p -> p.withCompression(new CompressionSpec(1, 1)));
                case 3 -> control.set(p -> p.withXbzrle(new XbzrleSpec(16 << 20, true)));
                case 4 -> control.set(p -> p.withCompression(new CompressionSpec(3, 4)));
                case 5 -> control.set(p -> p.withXbzrle(new XbzrleSpec(4096, true)));
                case 6 -> control.set(p -> p.withMaxBandwidth(100 << 20));
                case 7 -> control.set(p -> p.withXbzrle(null).withCompression(null));
                case 8 ->
                    control.set(p -> p.withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(8 << 20)));
                default -> {}
              }
            }));
    MigrationInfo info = control.info();
    assertThat(info.status()).isEqualTo(MigrationStatus.COMPLETED);
    assertThat(info.rounds().get(2).deltaPages()).as("deltas in round 3").isPositive();
    assertThat(info.rounds().get(7).deltaPages()).as("deltas in round 8").isZero();
    assertThat(Objects.requireNonNull(info.compression()).batches()).isPositive();
    assertThat(Objects.requireNonNull(info.xbzrleCache()).cacheSizeBytes()).isEqualTo(8 << 20);
    assertThat(seen).filteredOn(MigrationEvent.ParametersChanged.class::isInstance).hasSize(8);
  }

  @Test
  void aPausedMigrationSendsNothingForLongerThanThePeerWaitsAndGoesOn() {
    List<Long> sent = new ArrayList<>(); // at each sign of progress within the pause
    assertMoved(
        migrate(
            spec()
                .withPeerTimeout(Duration.ofSeconds(1))
                .withTimeout(Duration.ofSeconds(2)) // a pause does not use it up
                .withAtLimit(AtLimit.ABORT)
                .withMaxBandwidth(30 << 20)
                .withCompression(null),
            event -> {
              if (event instanceof MigrationEvent.RoundStarted started && started.round() == 1) {
                control.pause();
                assertThatThrownBy(control::pause).hasMessageContaining("paused already");
              } else if (event instanceof MigrationEvent.Progress(MigrationInfo info)
                  && control.isPaused()) {
                assertThat(info.status()).isEqualTo(MigrationStatus.PAUSED);
                sent.add(info.ram().normal());
                if (info.totalTime().toMillis() > 3_500) { // of a patience of 1 s
                  control.resume();
                }
              }
            }));
    assertThat(sent).hasSizeGreaterThan(20);
    assertThat(sent.getLast()).isEqualTo(sent.get(sent.size() / 2)).isLessThan(1_000);
    MigrationInfo info = control.info();
    assertThat(info.rounds().getFirst().duration()).isLessThan(info.totalTime().minusSeconds(2));
    assertThat(seen)
        .filteredOn(MigrationEvent.StatusChanged.class::isInstance)
        .extracting(event -> ((MigrationEvent.StatusChanged) event).status())
        .startsWith(
            MigrationStatus.SETUP,
            MigrationStatus.ACTIVE,
            MigrationStatus.PAUSED,
            MigrationStatus.ACTIVE);
  }

  @Test
  void aMigrationIsCancelledWhileItIsPausedAndTheGuestGoesOn() {
    Throwable failure =
        migrate(
            spec(),
            event -> {
              if (event instanceof MigrationEvent.RoundStarted started && started.round() == 1) {
                control.pause();
                control.cancel();
              }
            });
    assertThat(failure)
        .isInstanceOfSatisfying(
            MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.CANCELLED));
    assertThat(control.isCancelled()).isTrue();
    assertThat(guest.isRunning()).isTrue();
    assertThat(control.info().status()).isEqualTo(MigrationStatus.CANCELLED);
    assertMovedWithTheSameControl();
  }

  private void assertMovedWithTheSameControl() {
    seen.clear();
    assertMoved(migrate(spec(), event -> {}));
    assertThat(control.isCancelled()).isFalse();
  }

  @Test
  void whatIsOutOfRangeOrComesAtTheWrongTimeIsRefusedAndTheMigrationGoesOn() {
    assertThatThrownBy(control::pause).hasMessageContaining("no migration has begun");
    assertThatThrownBy(control::info).hasMessageContaining("no migration has begun");
    assertThatThrownBy(() -> control.set(p -> p)).hasMessageContaining("no migration has begun");
    List<String> refusals = new ArrayList<>();
    assertMoved(
        migrate(
            spec(),
            event -> {
              if (completedRound(event) == 1) {
                MigrationParameters before = control.parameters();
                refusals.add(refusal(() -> control.set(p -> p.withMaxBandwidth(1))));
                refusals.add(refusal(() -> control.set(p -> p.withMaxBandwidth(-1))));
                refusals.add(
                    refusal(() -> control.set(p -> p.withXbzrle(new XbzrleSpec(4095, true)))));
                refusals.add(
                    refusal(() -> control.set(p -> p.withXbzrle(new XbzrleSpec(1L << 60, true)))));
                refusals.add(
                    refusal(() -> control.set(p -> p.withDowntimeLimit(Duration.ofSeconds(2001)))));
                refusals.add(refusal(control::resume));
                refusals.add(
                    refusal(() -> OutgoingMigration.of(spec()).events(control).blockLast()));
                assertThat(control.parameters()).isEqualTo(before);
              }
              if (event instanceof MigrationEvent.SwitchOver) {
                refusals.add(refusal(control::pause));
                refusals.add(refusal(() -> control.set(p -> p.withMaxBandwidth(0))));
              }
            }));
    assertThat(refusals)
        .hasSize(9)
        .allMatch(text -> !text.isEmpty())
        .anyMatch(text -> text.contains("max-bandwidth is 0 (no limit) or at least"))
        .anyMatch(text -> text.contains("the switch-over has begun"));
    assertThatThrownBy(control::cancel).hasMessageContaining("has ended");
  }

  private static String refusal(Runnable command) {
    try {
      command.run();
      return "";
    } catch (IllegalArgumentException | IllegalStateException e) {
      return String.valueOf(e.getMessage());
    }
  }

  @Test
  void aHigherBandwidthHoldsAtOnceForWhatWaits() {
    // At the least bandwidth, all of it would take four minutes.
    assertMoved(
        migrate(
            spec().withCompression(null).withMaxBandwidth(OutgoingControl.leastBandwidth(spec())),
            event -> {
              if (event instanceof MigrationEvent.RoundStarted started && started.round() == 1) {
                control.set(p -> p.withMaxBandwidth(0).withDowntimeLimit(Duration.ofSeconds(1)));
              }
            }));
    assertThat(control.info().downtimeLimit()).isEqualTo(Duration.ofSeconds(1));
  }

  @Test
  void pagesThatWaitForASlowLinkAreNotTakenToHaveBecomeNothing() {
    List<ConvergenceStatistics> figures = new ArrayList<>();
    migrate(
        spec()
            .withCompression(null)
            .withXbzrle(null)
            .withMaxBandwidth(OutgoingControl.leastBandwidth(spec())),
        event -> {
          if (event instanceof MigrationEvent.Progress(MigrationInfo info)
              && info.convergence() != null
              && figures.isEmpty()) {
            figures.add(info.convergence());
            control.cancel();
          }
        });
    // No page is zero, and hardly any has arrived.
    assertThat(figures).hasSize(1);
    assertThat(figures.getFirst().remainingBytes())
        .isBetween(source.sizeBytes() * 9 / 10, source.sizeBytes() * 11 / 10);
  }
}
