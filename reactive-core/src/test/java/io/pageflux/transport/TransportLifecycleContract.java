package io.pageflux.transport;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

/** What holds for connecting, accepting and closing over every transport. */
public interface TransportLifecycleContract extends TransportHarness {

  @Test
  default void aCloseIsSeenByTheIdleOtherSide() {
    for (boolean clientCloses : new boolean[] {true, false}) {
      InMemoryTransport.Pair pair = connect();
      Connection closing = clientCloses ? pair.first() : pair.second();
      Connection other = clientCloses ? pair.second() : pair.first();
      Digest digest = Digest.idle();
      other.receive().subscribe(digest);
      Mono<Void> sent = other.send(Flux.never()).cache();
      sent.subscribe(nothing -> {}, error -> {});
      closing.dispose();
      StepVerifier.create(digest.ended()).expectComplete().verify(PATIENCE);
      StepVerifier.create(sent)
          .expectErrorSatisfies(
              error ->
                  assertThat(error)
                      .isInstanceOf(MigrationException.class)
                      .hasMessageContaining("closed while sending")
                      .hasMessageContaining(other.peer()))
          .verify(PATIENCE);
      StepVerifier.create(other.onDispose()).expectComplete().verify(PATIENCE);
      StepVerifier.create(closing.onDispose()).expectComplete().verify(PATIENCE);
      other.dispose();
    }
  }

  @Test
  default void aCloseEndsOnesOwnSendAndReceive() {
    InMemoryTransport.Pair pair = connect();
    Digest digest = Digest.greedy(1);
    pair.first().receive().subscribe(digest);
    Mono<Void> sent = pair.first().send(Flux.never()).cache();
    sent.subscribe(nothing -> {}, error -> {});
    pair.first().dispose();
    StepVerifier.create(digest.ended()).expectComplete().verify(PATIENCE);
    StepVerifier.create(sent).expectError(MigrationException.class).verify(PATIENCE);
    pair.second().dispose();
  }

  @Test
  default void aClosedConnectionSendsAndReceivesNothing() {
    InMemoryTransport.Pair pair = connect();
    pair.first().dispose();
    pair.first().dispose();
    pair.second().dispose();
    pair.second().dispose();
    pair.first().onDispose().and(pair.second().onDispose()).block(PATIENCE);
    settle();
    for (Connection connection : new Connection[] {pair.first(), pair.second()}) {
      StepVerifier.create(connection.receive()).expectComplete().verify(PATIENCE);
      try (SlabSource source = new SlabSource(2, 1)) {
        StepVerifier.create(connection.send(source.buffers(5, 1000)))
            .expectError(MigrationException.class)
            .verify(PATIENCE);
        source.awaitAllReleased();
      }
      connection.dispose();
    }
  }

  @Test
  default void aConnectionThatNobodyAskedForWaits() {
    Connection client = Objects.requireNonNull(connector().connect().block(PATIENCE));
    Mono<Void> sent = client.send(Flux.just(TransportHarness.bytes(1, 2, 3))).cache();
    sent.subscribe();
    settleWithoutAccepting();
    Connection server = Objects.requireNonNull(acceptor().accept().block(PATIENCE));
    Digest digest = Digest.greedy(3);
    server.receive().subscribe(digest);
    digest.enough().and(sent).block(PATIENCE);
    assertThat(digest.bytes()).isEqualTo(3);
    client.dispose();
    server.dispose();
  }

  private void settleWithoutAccepting() {
    Connection unrelated = Objects.requireNonNull(connector().connect().block(PATIENCE));
    unrelated.dispose();
  }

  @Test
  default void connectionsAreAcceptedByThoseWhoWaitInOrder() {
    Mono<? extends Connection> accept = acceptor().accept();
    AtomicReference<Connection> taken = new AtomicReference<>();
    Disposable impatient = accept.subscribe(taken::set);
    impatient.dispose();
    Mono<Connection> waiting = accept.map(c -> (Connection) c).cache();
    waiting.subscribe();
    Connection client = Objects.requireNonNull(connector().connect().block(PATIENCE));
    Connection server = Objects.requireNonNull(waiting.block(PATIENCE));
    assertThat(taken.get()).as("who has cancelled gets no connection").isNull();
    client.dispose();
    server.dispose();
  }

  @Test
  default void aClosedAcceptorClosesWhatNobodyAskedForAndAcceptsNothing() {
    Connection accepted = Objects.requireNonNull(connector().connect().block(PATIENCE));
    Connection acceptedEnd = Objects.requireNonNull(acceptor().accept().block(PATIENCE));
    Connection unclaimed = Objects.requireNonNull(connector().connect().block(PATIENCE));
    settleByAcceptedConnection(accepted, acceptedEnd);

    acceptor().dispose();
    acceptor().dispose();
    StepVerifier.create(
            unclaimed.receive().doOnNext(TransportBuffer::release).then().onErrorComplete())
        .expectComplete()
        .verify(PATIENCE);
    StepVerifier.create(acceptor().accept())
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOf(MigrationException.class)
                    .hasMessageContaining(acceptor().address()))
        .verify(PATIENCE);
    // A listening socket is closed by its own thread, some time after it was told to.
    StepVerifier.create(
            Mono.defer(() -> Mono.from(connector().connect()))
                .doOnNext(Connection::dispose)
                .repeat()
                .then())
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOfSatisfying(
                        MigrationException.class,
                        e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT))
                    .hasMessageContaining("cannot connect to " + acceptor().address()))
        .verify(PATIENCE);
    assertThat(acceptedEnd.onDispose().toFuture()).as("accepted ones stay").isNotDone();
    accepted.dispose();
    acceptedEnd.dispose();
    unclaimed.dispose();
  }

  private void settleByAcceptedConnection(Connection from, Connection to) {
    Digest digest = Digest.greedy(1);
    to.receive().subscribe(digest);
    from.send(Flux.just(TransportHarness.bytes(9))).and(digest.enough()).block(PATIENCE);
  }

  @Test
  default void whoWaitsForAConnectionIsToldThatTheAcceptorCloses() {
    Mono<Connection> waiting = acceptor().accept().map(c -> (Connection) c).cache();
    waiting.subscribe(connection -> {}, error -> {});
    acceptor().dispose();
    StepVerifier.create(waiting).expectError(MigrationException.class).verify(PATIENCE);
  }

  @Test
  default void sendAndReceiveServeOneSubscriber() {
    InMemoryTransport.Pair pair = connect();
    pair.first().send(Flux.empty()).block(PATIENCE);
    StepVerifier.create(pair.first().send(Flux.empty()))
        .expectError(IllegalStateException.class)
        .verify(PATIENCE);
    Digest digest = Digest.greedy(1);
    pair.first().receive().subscribe(digest);
    StepVerifier.create(pair.first().receive())
        .expectError(IllegalStateException.class)
        .verify(PATIENCE);
    pair.first().dispose();
    pair.second().dispose();
  }
}
