package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.InMemoryTransport;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** Guests that start badly, or never say whether they did, and people who do not wait for ever. */
@Timeout(60)
class StartCustodyTest {

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

  private Mono<End> receiving(Guest guest, Mono<Void> stop) {
    return receiving(guest, stop, SOON);
  }

  private Mono<End> receiving(Guest guest, Mono<Void> stop, Duration peerTimeout) {
    Mono<End> end =
        MigrationRun.result(
                IncomingMigration.of(
                        IncomingSpec.of(destination.memory, guest, transport.acceptor())
                            .withPeerTimeout(peerTimeout))
                    .events(stop))
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

  @Test
  void aGuestThatNeitherStartsNorCanBeStoppedMayRunAndTheSourceIsNotToldThatItDoesNot() {
    Guest guest =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.error(new IllegalStateException("the monitor does not answer"));
          }

          @Override
          public Mono<Void> pause() {
            return Mono.error(new IllegalStateException("nor does it now"));
          }
        };
    Mono<End> in = receiving(guest, Mono.never());
    End out = End.of(source.migrate(transport.connector()));
    assertThat(out.message()).contains("stays paused here");
    assertThat(source.running).isFalse();
    assertThat(source.resumes).hasValue(0);
    assertThat(await(in).failure().kind()).isEqualTo(Kind.GUEST);
    assertThat(await(in).message())
        .contains("the monitor does not answer", "nor does it now", "it may run here");
  }

  @Test
  void aGuestThatDoesNotStartButCanBeStoppedGoesOnAtTheSource() {
    Guest guest =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.error(new IllegalStateException("no"));
          }
        };
    Mono<End> in = receiving(guest, Mono.never());
    End out = End.of(source.migrate(transport.connector()));
    assertThat(out.message()).contains("could not start: no").doesNotContain("stays paused");
    assertThat(source.running).isTrue();
    assertThat(await(in).failure().kind()).isEqualTo(Kind.GUEST);
  }

  @Test
  void aStartThatNeverEndsIsNotWaitedForForEverByWhoIsStopped() {
    Sinks.Empty<Void> starting = Sinks.empty();
    Guest guest =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return Mono.<Void>never().doOnSubscribe(s -> starting.tryEmitEmpty());
          }
        };
    Mono<End> in = receiving(guest, starting.asMono());
    End out = End.of(source.migrate(transport.connector()));
    assertThat(out.message()).contains("stays paused here");
    assertThat(source.resumes).hasValue(0);
    assertThat(await(in).message()).contains("has not said for 300 ms", "it may run here");
  }

  @Test
  void aSourceThatIsStoppedAfterTheCommitDoesNotWaitForEver() {
    Sinks.Empty<Void> stop = Sinks.empty();
    Sinks.Empty<Void> started = Sinks.empty();
    Guest guest =
        new PassiveGuest() {
          @Override
          public Mono<Void> resume() {
            return started.asMono().doOnSubscribe(s -> stop.tryEmitEmpty());
          }
        };
    Mono<End> in = receiving(guest, Mono.never(), Duration.ofSeconds(30));
    End out =
        End.of(
            MigrationRun.result(
                OutgoingMigration.of(source.outgoing(transport.connector()).withPeerTimeout(SOON))
                    .events(stop.asMono())
                    .doOnNext(source::write)));
    assertThat(out.failure().kind()).isEqualTo(Kind.CANCELLED);
    assertThat(out.message()).contains("has not said for 300 ms", "stays paused here");
    assertThat(source.resumes).hasValue(0);
    started.tryEmitEmpty();
    assertThat(await(in).error()).isNull();
  }
}
