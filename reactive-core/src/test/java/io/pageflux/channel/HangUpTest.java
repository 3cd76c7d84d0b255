package io.pageflux.channel;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;
import reactor.test.scheduler.VirtualTimeScheduler;

/** How conversations end that both sides end. The time stands still. */
class HangUpTest {

  private static final WireRecord.Hello HELLO =
      new WireRecord.Hello(1, 1, Feature.migration(), 0, new UUID(1, 2), 0, 1, "a test");

  private final VirtualTimeScheduler timer = VirtualTimeScheduler.create();

  private WireChannel converse(Connection connection) {
    WireChannel channel = new WireChannel(connection, Duration.ofSeconds(10), timer, e -> {});
    channel.receive().onErrorComplete().subscribe();
    channel
        .send(Flux.<WireRecord>just(HELLO).concatWith(Flux.never()), f -> f)
        .onErrorComplete()
        .subscribe();
    return channel;
  }

  private static MigrationException reason(String text) {
    return MigrationException.of(MigrationException.Kind.CANCELLED, text);
  }

  @Test
  void whoHangsUpAtOnceWithThePeerDoesNotWaitForItsTimeToHear() {
    InMemoryTransport.Pair pair = InMemoryTransport.pair();
    WireChannel first = converse(pair.first());
    WireChannel second = converse(pair.second());
    Mono<Void> both =
        Mono.when(first.hangUp(reason("enough"), true), second.hangUp(reason("me too"), true));
    StepVerifier.create(both).expectComplete().verify(Duration.ofSeconds(30));
  }

  @Test
  void whoHangsUpAloneWaitsUntilThePeerHasHadItsTimeToHear() {
    InMemoryTransport.Pair pair = InMemoryTransport.pair();
    WireChannel first = converse(pair.first());
    converse(pair.second());
    StepVerifier.create(first.hangUp(reason("enough"), true))
        .then(() -> assertThat(pair.first().onDispose().toFuture()).isNotDone())
        .then(() -> timer.advanceTimeBy(Duration.ofSeconds(2)))
        .expectComplete()
        .verify(Duration.ofSeconds(30));
  }
}
