package io.pageflux.transport.fault;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.test.scheduler.VirtualTimeScheduler;

class ReorderingAcceptorTest {

  private static final Duration PATIENCE = Duration.ofSeconds(1);

  private final VirtualTimeScheduler clock = VirtualTimeScheduler.create();
  private final InMemoryTransport transport = InMemoryTransport.create();
  private final List<Connection> made = new ArrayList<>();

  @AfterEach
  void close() {
    clock.dispose();
    transport.acceptor().dispose();
  }

  private Acceptor reordering(int connections, long seed) {
    return FaultyTransport.reordering(transport.acceptor(), connections, seed, PATIENCE, clock);
  }

  /** Connects, and sends the connection's number. */
  private void connect(int number) {
    Connection connection = transport.connector().connect().block();
    if (connection == null) {
      throw new AssertionError("no connection");
    }
    made.add(connection);
    ByteBuffer one = ByteBuffer.allocate(1).put(0, (byte) number);
    connection
        .send(Flux.just(TransportBuffer.of(one)).concatWith(Flux.never()))
        .onErrorComplete()
        .subscribe();
  }

  private static List<Integer> numbers(Acceptor acceptor, int count) {
    List<Integer> numbers = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      acceptor
          .accept()
          .subscribe(
              connection ->
                  connection
                      .receive()
                      .subscribe(buffer -> numbers.add((int) buffer.bytes().get())));
    }
    return numbers;
  }

  @Test
  void allArriveInAnOrderThatTheSeedDecides() {
    List<List<Integer>> orders = new ArrayList<>();
    for (long seed : new long[] {1, 1, 2}) {
      Acceptor acceptor =
          FaultyTransport.reordering(transport.acceptor(), 8, seed, PATIENCE, clock);
      List<Integer> numbers = numbers(acceptor, 8);
      IntStream.range(0, 8).forEach(this::connect);
      assertThat(numbers).containsExactlyInAnyOrder(0, 1, 2, 3, 4, 5, 6, 7);
      orders.add(numbers);
    }
    assertThat(orders.get(0)).isEqualTo(orders.get(1)).isNotEqualTo(orders.get(2));
    assertThat(orders.get(0)).isNotEqualTo(orders.get(0).stream().sorted().toList());
  }

  @Test
  void aGroupThatLacksSomeIsHandedOutWhenNobodyElseComes() {
    Acceptor acceptor = reordering(4, 1);
    List<Integer> numbers = numbers(acceptor, 2);
    connect(0);
    connect(1);
    assertThat(numbers).isEmpty();
    clock.advanceTimeBy(PATIENCE);
    assertThat(numbers).containsExactlyInAnyOrder(0, 1);
    acceptor.dispose();
  }

  @Test
  void oneThatWasThereBeforeIsHandedOutWhenNobodyElseComes() {
    connect(0);
    Acceptor acceptor = reordering(2, 1);
    List<Integer> numbers = numbers(acceptor, 1);
    assertThat(numbers).isEmpty();
    clock.advanceTimeBy(PATIENCE);
    assertThat(numbers).containsExactly(0);
    acceptor.dispose();
  }

  @Test
  void connectionsThatNobodyHasAskedForAreClosedWithTheAcceptor() {
    Acceptor acceptor = reordering(4, 1);
    List<Integer> numbers = numbers(acceptor, 1);
    for (int i = 0; i < 3; i++) {
      connect(i);
    }
    acceptor.dispose();
    assertThat(numbers).isEmpty();
    made.forEach(connection -> connection.onDispose().block(Duration.ofSeconds(5)));
    assertThatThrownBy(() -> acceptor.accept().block()).isInstanceOf(MigrationException.class);
  }

  @Test
  void aGroupOfNoneIsRefused() {
    assertThatThrownBy(() -> reordering(0, 1)).isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> reordering(65, 1)).isInstanceOf(IllegalArgumentException.class);
  }
}
