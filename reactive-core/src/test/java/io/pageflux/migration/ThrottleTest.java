package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.convergence.ConvergenceDecision;
import io.pageflux.convergence.ConvergenceDecision.Abort;
import io.pageflux.convergence.ConvergenceDecision.SwitchOver;
import io.pageflux.convergence.ConvergenceDecision.Throttle;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.transport.InMemoryTransport;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A guest's throttle is lifted whatever the end is, and its refusal is contained. */
@Timeout(60)
class ThrottleTest {

  private static final ConvergencePolicy.Maker THROTTLING =
      limits -> figures -> throttleThenSwitch(figures.rounds());

  private final TinyGuest source = TinyGuest.atSource();
  private final TinyGuest destination = new TinyGuest();
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final List<ConvergenceStep> steps = new CopyOnWriteArrayList<>();
  private final List<String> notes = new CopyOnWriteArrayList<>();
  private final Sinks.Empty<Void> stop = Sinks.empty();

  @AfterEach
  void nothingIsLeft() {
    transport.acceptor().dispose();
    Leftovers.assertNoThreads();
    source.close();
    destination.close();
  }

  private static ConvergenceDecision throttleThenSwitch(int rounds) {
    return rounds == 1 ? new Throttle(50, "it must be") : new SwitchOver("it is enough");
  }

  /** A guest whose throttle is something, and that notes what is done with it. */
  private class Throttled extends PassiveGuest {
    private final IntFunction<Mono<Void>> throttle;

    Throttled(IntFunction<Mono<Void>> throttle) {
      this.throttle = throttle;
    }

    @Override
    public boolean canThrottle() {
      return true;
    }

    @Override
    public Mono<Void> throttle(int percent) {
      notes.add("throttle " + percent);
      return throttle.apply(percent);
    }

    @Override
    public Mono<Void> pause() {
      return Mono.fromRunnable(() -> notes.add("pause"));
    }

    @Override
    public Mono<Void> resume() {
      return Mono.fromRunnable(() -> notes.add("resume"));
    }
  }

  private static Mono<Void> obedient(int percent) {
    return Mono.empty();
  }

  /** What a guest may take that does nothing; and how long the other side may be silent, too. */
  private static final Duration PATIENCE = Duration.ofSeconds(1);

  private OutgoingSpec spec(Guest guest, ConvergencePolicy.Maker policy) {
    return source.outgoing(transport.connector()).withGuest(guest).withPolicy(policy);
  }

  private End migrate(OutgoingSpec spec) {
    Mono<End> in =
        destination
            .receive(transport.acceptor())
            .materialize()
            .map(s -> new End(s.get(), s.getThrowable()))
            .cache();
    in.subscribe();
    End out =
        End.of(
            MigrationRun.result(
                OutgoingMigration.of(spec).events(stop.asMono()).doOnNext(this::heard)));
    in.block(End.LIMIT);
    return out;
  }

  private void heard(MigrationEvent event) {
    source.write(event);
    if (event instanceof MigrationEvent.Convergence(ConvergenceStep step)) {
      steps.add(step);
    }
  }

  private List<ConvergenceStep.Kind> kinds() {
    return steps.stream().map(ConvergenceStep::kind).toList();
  }

  @Test
  void itIsLiftedWhenTheMigrationIsComplete() {
    End end = migrate(spec(new Throttled(ThrottleTest::obedient), THROTTLING));
    assertThat(end.error()).isNull();
    assertThat(notes).containsExactlyInAnyOrder("throttle 50", "pause", "throttle 0");
    assertThat(notes).last().isEqualTo("throttle 0");
    MigrationInfo info = Objects.requireNonNull(end.info());
    assertThat(info.cpuThrottlePercentage()).isZero();
    assertThat(info.steps()).isEqualTo(steps);
    assertThat(kinds())
        .containsExactly(
            ConvergenceStep.Kind.THROTTLE,
            ConvergenceStep.Kind.SWITCH_OVER,
            ConvergenceStep.Kind.THROTTLE_LIFTED);
    assertThat(steps.getFirst().why()).isEqualTo("it must be");
  }

  @Test
  void itIsLiftedWhenTheMigrationFails() {
    Guest guest =
        new Throttled(ThrottleTest::obedient) {
          @Override
          public Mono<Void> pause() {
            return Mono.error(new IllegalStateException("no"));
          }
        };
    End end = migrate(spec(guest, THROTTLING));
    assertThat(end.message()).isEqualTo("the guest could not pause: no");
    // The throttle is set on a thread of its own, so the pause may be over before it is.
    assertThat(notes).containsExactlyInAnyOrder("throttle 50", "resume", "throttle 0");
    assertThat(notes).last().isEqualTo("throttle 0");
  }

  @Test
  void itIsLiftedWhenTheMigrationIsGivenUp() {
    ConvergencePolicy.Maker policy =
        limits ->
            figures ->
                figures.rounds() == 1 ? new Throttle(50, "it must be") : new Abort("it must not");
    End end = migrate(spec(new Throttled(ThrottleTest::obedient), policy));
    assertThat(end.failure().kind()).isEqualTo(Kind.NOT_CONVERGED);
    assertThat(end.message()).isEqualTo("the migration does not converge: it must not");
    assertThat(notes).containsExactly("throttle 50", "throttle 0");
    assertThat(kinds())
        .containsExactly(
            ConvergenceStep.Kind.THROTTLE,
            ConvergenceStep.Kind.ABORT,
            ConvergenceStep.Kind.THROTTLE_LIFTED);
  }

  @Test
  void itIsLiftedWhenSomebodyStopsTheMigration() {
    Guest guest = new Throttled(percent -> Mono.fromRunnable(stop::tryEmitEmpty));
    ConvergencePolicy.Maker policy =
        limits -> figures -> figures.rounds() == 1 ? new Throttle(50, "") : new Wait("for ever");
    End end = migrate(spec(guest, policy));
    assertThat(end.failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(notes).containsExactly("throttle 50", "throttle 0");
  }

  @Test
  void itIsLiftedWhenNobodyListensAnyMore() throws InterruptedException {
    CountDownLatch throttled = new CountDownLatch(1);
    CountDownLatch lifted = new CountDownLatch(1);
    Guest guest =
        new Throttled(
            percent -> Mono.fromRunnable(() -> (percent == 0 ? lifted : throttled).countDown()));
    ConvergencePolicy.Maker policy =
        limits -> figures -> figures.rounds() == 1 ? new Throttle(50, "") : new Wait("for ever");
    Mono<MigrationInfo> in = destination.receive(transport.acceptor()).onErrorComplete().cache();
    in.subscribe();
    Disposable migration = OutgoingMigration.of(spec(guest, policy)).events().subscribe();
    assertThat(throttled.await(30, TimeUnit.SECONDS)).isTrue();
    migration.dispose();
    assertThat(lifted.await(30, TimeUnit.SECONDS)).isTrue();
    in.block(End.LIMIT);
  }

  @Test
  void aGuestThatRefusesIsNotAskedAgainAndMovesAllTheSame() {
    Guest guest =
        new Throttled(
            percent ->
                percent == 0 ? Mono.empty() : Mono.error(new IllegalStateException("not me")));
    ConvergencePolicy.Maker policy =
        limits ->
            figures ->
                figures.throttle().possible()
                    ? new Throttle(figures.rounds() % 90 + 1, "again")
                    : new SwitchOver("it cannot be throttled");
    End end = migrate(spec(guest, policy));
    assertThat(end.error()).isNull();
    assertThat(notes.stream().filter(note -> note.startsWith("throttle ")).toList())
        .hasSize(2)
        .last()
        .isEqualTo("throttle 0");
    assertThat(steps)
        .anySatisfy(
            step -> {
              assertThat(step.kind()).isEqualTo(ConvergenceStep.Kind.THROTTLE_REFUSED);
              assertThat(step.why()).isEqualTo("not me");
            });
  }

  @Test
  void aGuestThatThrowsIsOneThatRefuses() {
    Guest guest =
        new Throttled(
            percent -> {
              throw new IllegalStateException("thrown " + percent);
            });
    End end = migrate(spec(guest, THROTTLING));
    assertThat(end.error()).isNull();
    assertThat(kinds()).contains(ConvergenceStep.Kind.THROTTLE_REFUSED);
    assertThat(notes).last().isEqualTo("throttle 0");
    assertThat(steps.getLast().what()).isEqualTo("guest still throttled");
  }

  @Test
  void aGuestThatHangsInItsThrottleDoesNotHoldAnythingUp() {
    Guest guest =
        new Throttled(
            percent ->
                percent == 0
                    ? Mono.empty()
                    : Mono.<Void>never().doOnCancel(() -> notes.add("cancelled")));
    End end = migrate(spec(guest, THROTTLING).withPeerTimeout(PATIENCE));
    assertThat(end.error()).isNull();
    assertThat(notes).containsExactlyInAnyOrder("throttle 50", "pause", "cancelled", "throttle 0");
    assertThat(notes).last().isEqualTo("throttle 0");
    assertThat(steps)
        .anySatisfy(step -> assertThat(step.why()).isEqualTo("it took longer than 1 s"));
  }

  @Test
  void aGuestThatBlocksInItsThrottleDoesNotEither() {
    CountDownLatch never = new CountDownLatch(1);
    Guest guest =
        new Throttled(
            percent ->
                Mono.fromCallable(
                    () -> {
                      if (percent > 0) {
                        never.await();
                      }
                      return null;
                    }));
    assertThat(migrate(spec(guest, THROTTLING).withPeerTimeout(PATIENCE)).error()).isNull();
    assertThat(notes).last().isEqualTo("throttle 0");
  }

  @Test
  void aThrottleThatCannotBeLiftedIsSpokenOf() {
    Guest guest =
        new Throttled(percent -> percent == 0 ? Mono.never() : Mono.empty()) {
          @Override
          public Mono<Void> pause() {
            return Mono.error(new IllegalStateException("no"));
          }
        };
    End end = migrate(spec(guest, THROTTLING).withPeerTimeout(PATIENCE));
    assertThat(end.message())
        .isEqualTo(
            "the guest could not pause: no; and it stays throttled: it took longer than 1 s");
    assertThat(steps.getLast().kind()).isEqualTo(ConvergenceStep.Kind.THROTTLE_REFUSED);
  }

  @Test
  void whoWasNotThrottledIsNotLetOff() {
    Guest guest = new Throttled(ThrottleTest::obedient);
    assertThat(migrate(spec(guest, LimitPolicy::new)).error()).isNull();
    assertThat(notes).containsExactly("pause");
    assertThat(kinds()).containsExactly(ConvergenceStep.Kind.SWITCH_OVER);
  }

  @Test
  void aGuestThatDoesNotKnowWhetherItCanBeThrottledCannot() {
    Guest guest =
        new Throttled(ThrottleTest::obedient) {
          @Override
          public boolean canThrottle() {
            throw new IllegalStateException("who knows");
          }
        };
    assertThat(migrate(spec(guest, THROTTLING)).error()).isNull();
    assertThat(notes).containsExactly("pause");
  }

  // Policies.

  @Test
  void aPolicyThatThrowsIsToldOfAndTheMigrationGoesOnByTheLimits() {
    ConvergencePolicy.Maker policy =
        limits ->
            figures -> {
              throw new IllegalStateException("out of ideas");
            };
    End end = migrate(spec(source, policy).withMaxRounds(2));
    assertThat(end.failure().kind()).isEqualTo(Kind.NOT_CONVERGED);
    assertThat(source.running).isTrue();
    assertThat(source.pauses).hasValue(0);
    assertThat(kinds())
        .containsExactly(ConvergenceStep.Kind.POLICY_FAILED, ConvergenceStep.Kind.ABORT);
  }

  @Test
  void aMigrationWithAPolicyThatThrowsCompletesOnceTheLimitIsMet() {
    ConvergencePolicy.Maker policy =
        limits ->
            figures -> {
              throw new IllegalStateException("out of ideas");
            };
    End end =
        migrate(spec(source, policy).withMaxRounds(9).withDowntimeLimit(Duration.ofMinutes(1)));
    assertThat(end.error()).isNull();
    assertThat(source.sameMemory(destination)).isTrue();
  }

  /** What a policy may throw: also what Reactor would throw rather than signal. */
  static List<Throwable> whatIsThrown() {
    return List.of(
        new IllegalStateException("out of ideas"),
        new AssertionError("out of ideas"),
        new StackOverflowError("out of ideas"));
  }

  @SuppressWarnings("unchecked")
  private static <T, E extends Throwable> T thrown(Throwable e) throws E {
    throw (E) e;
  }

  private void assertGoesOnByTheLimits(ConvergencePolicy.Maker policy) {
    End end = migrate(spec(source, policy).withMaxRounds(2));
    assertThat(end.failure().kind()).isEqualTo(Kind.NOT_CONVERGED);
    assertThat(source.running).isTrue();
    assertThat(kinds())
        .containsExactly(ConvergenceStep.Kind.POLICY_FAILED, ConvergenceStep.Kind.ABORT);
    assertThat(steps.getFirst().why()).isEqualTo("it failed: out of ideas");
  }

  @ParameterizedTest
  @MethodSource("whatIsThrown")
  void whateverAPolicyThrowsIsContained(Throwable e) {
    assertGoesOnByTheLimits(limits -> figures -> thrown(e));
  }

  @ParameterizedTest
  @MethodSource("whatIsThrown")
  void whateverIsThrownAsAPolicyIsMadeIsContained(Throwable e) {
    assertGoesOnByTheLimits(limits -> thrown(e));
  }

  @Test
  void aPolicyThatIsNoneIsContained() {
    assertThat(migrate(spec(source, limits -> nothing()).withMaxRounds(2)).failure().kind())
        .isEqualTo(Kind.NOT_CONVERGED);
    assertThat(steps.getFirst().why()).isEqualTo("it failed: it is none (null)");
  }

  @SuppressWarnings("NullAway") // who wrote the maker may not know of null-marked code
  private static ConvergencePolicy nothing() {
    return null;
  }

  @ParameterizedTest
  @MethodSource("whatIsThrown")
  void whateverIsThrownAsAPolicyIsMadeForAnotherLimitIsContained(Throwable e) {
    OutgoingControl control = new OutgoingControl();
    ConvergencePolicy.Maker policy =
        limits -> {
          if (limits.downtimeLimit().equals(Duration.ofMinutes(1))) {
            return thrown(e);
          }
          return figures -> new Wait("for somebody");
        };
    Mono<MigrationInfo> in = destination.receive(transport.acceptor()).onErrorComplete().cache();
    in.subscribe();
    End end =
        End.of(
            MigrationRun.result(
                OutgoingMigration.of(spec(source, policy).withDowntimeLimit(Duration.ZERO))
                    .events(control)
                    .doOnNext(this::heard)
                    .doOnNext(
                        event -> {
                          if (event instanceof MigrationEvent.RoundStarted begun
                              && begun.round() == 1) {
                            control.set(p -> p.withDowntimeLimit(Duration.ofMinutes(1)));
                          }
                        })));
    in.block(End.LIMIT);
    assertThat(end.error()).isNull();
    assertThat(kinds())
        .containsExactly(
            ConvergenceStep.Kind.DOWNTIME_LIMIT,
            ConvergenceStep.Kind.POLICY_FAILED,
            ConvergenceStep.Kind.SWITCH_OVER);
    assertThat(source.sameMemory(destination)).isTrue();
  }

  @Test
  void everyMigrationHasAPolicyOfItsOwn() {
    List<ConvergencePolicy> made = new CopyOnWriteArrayList<>();
    OutgoingSpec spec =
        spec(
            source,
            limits -> {
              ConvergencePolicy policy = new LimitPolicy(limits);
              made.add(policy);
              return policy;
            });
    for (int i = 0; i < 2; i++) {
      source.reset();
      assertThat(migrate(spec).error()).isNull();
    }
    assertThat(made).hasSize(2).doesNotHaveDuplicates();
  }

  @Test
  void anAbortDoesNotWaitForTheEndOfALongRound() {
    ConvergencePolicy.Maker policy =
        limits -> figures -> figures.roundEnded() ? new Wait("") : new Abort("it takes too long");
    // The first round would take several seconds.
    OutgoingSpec spec =
        spec(source, policy)
            .withMaxBandwidth(300)
            .withCompression(null)
            .withPeerTimeout(Duration.ofSeconds(10));
    End end = migrate(spec);
    assertThat(kinds()).containsExactly(ConvergenceStep.Kind.ABORT);
    assertThat(end.failure().kind()).isEqualTo(Kind.NOT_CONVERGED);
    assertThat(end.message()).endsWith("it takes too long");
    assertThat(source.running).isTrue();
  }
}
