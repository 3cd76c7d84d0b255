package io.pageflux.transport;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.test.StepVerifier;
import reactor.test.publisher.TestPublisher;

class InMemoryTransportTest implements TransportContract {

  private final InMemoryTransport transport = InMemoryTransport.create();

  @AfterEach
  void dispose() {
    transport.acceptor().dispose();
  }

  @Override
  public Acceptor acceptor() {
    return transport.acceptor();
  }

  @Override
  public Connector connector() {
    return transport.connector();
  }

  @Override
  public int window() {
    return InMemoryTransport.DEFAULT_PREFETCH_BUFFERS;
  }

  @Override
  public long bytesOnTheWay() {
    return 0;
  }

  @Test
  void demandIsThatOfTheReceiverAndTheFewBuffersTakenAhead() {
    InMemoryTransport.Pair pair = InMemoryTransport.pair(4);
    TestPublisher<TransportBuffer> source = TestPublisher.create();
    List<TransportBuffer> received = new ArrayList<>();
    pair.first().send(source.flux()).subscribe(nothing -> {}, error -> {});
    source.assertMinRequested(4).assertMaxRequested(4);
    Digest digest = Digest.idle();
    pair.second().receive().doOnNext(received::add).subscribe(digest);
    TransportBuffer buffer = TransportBuffer.of(ByteBuffer.allocate(1));
    source.next(buffer);
    assertThat(received).isEmpty();
    digest.request(1);
    assertThat(received).as("handed over, not copied").containsExactly(buffer);
    pair.first().dispose();
    source.assertCancelled();
  }

  @Test
  void aFullBacklogRefusesConnections() {
    List<Connection> waiting = new ArrayList<>();
    for (int i = 0; i < AcceptQueue.MAX_WAITING; i++) {
      waiting.add(transport.connector().connect().block());
    }
    StepVerifier.create(transport.connector().connect())
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOf(MigrationException.class)
                    .hasMessageContaining("64 connections wait"))
        .verify();
    waiting.forEach(Connection::dispose);
  }

  @Test
  void aSourceThatIgnoresDemandGetsAnErrorAndItsBuffersAreReleased() {
    InMemoryTransport.Pair pair = InMemoryTransport.pair(1);
    List<Integer> released = new ArrayList<>();
    TestPublisher<TransportBuffer> source =
        TestPublisher.createNoncompliant(TestPublisher.Violation.REQUEST_OVERFLOW);
    StepVerifier.create(pair.first().send(source.flux()))
        .then(
            () -> {
              for (int i = 0; i < 2; i++) {
                int number = i;
                source.next(
                    new TransportBuffer(ByteBuffer.allocate(1), () -> released.add(number)));
              }
            })
        .expectErrorMessage("the source of a send emits more than was requested")
        .verify();
    assertThat(released).containsExactlyInAnyOrder(0, 1);
    pair.first().dispose();
  }

  @Test
  void anUnsensiblePrefetchIsRefused() {
    assertThatThrownBy(() -> InMemoryTransport.create(0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("1 to 256");
  }

  @Test
  void manyBuffersOnOneThreadDoNotRecurse() {
    InMemoryTransport.Pair pair = InMemoryTransport.pair();
    int count = 100_000;
    Flux<TransportBuffer> buffers =
        Flux.range(0, count).map(i -> TransportBuffer.of(ByteBuffer.allocate(1)));
    Digest digest = Digest.oneByOne(count);
    pair.second().receive().subscribe(digest);
    pair.first().send(buffers).block(PATIENCE);
    assertThat(digest.buffers()).isEqualTo(count);
    pair.first().dispose();
  }
}
