package io.pageflux.examples.bench.recovery;

import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicLong;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Counts what goes over all connections of a migration, and cuts the first one if it is to. */
final class MeteredLine implements Connector {

  private final Connector connector;
  private final long cutAfterBytes;
  private final AtomicLong sent = new AtomicLong();
  private final AtomicLong received = new AtomicLong();
  private final AtomicLong connections = new AtomicLong();

  /**
   * @param cutAfterBytes how many bytes are sent before the first connection is cut
   */
  MeteredLine(Connector connector, long cutAfterBytes) {
    this.connector = connector;
    this.cutAfterBytes = cutAfterBytes;
  }

  @Override
  public Mono<? extends Connection> connect() {
    return Mono.<Connection>from(connector.connect())
        .map(connection -> new Metered(connection, connections.incrementAndGet() == 1));
  }

  /** {@return bytes that were given to the connections to be sent} */
  long sentBytes() {
    return sent.get();
  }

  /** {@return bytes in both directions} */
  long bytes() {
    return sent.get() + received.get();
  }

  /** {@return how many connections were made} */
  long connections() {
    return connections.get();
  }

  private final class Metered implements Connection {

    private final Connection connection;
    private final boolean first;

    Metered(Connection connection, boolean first) {
      this.connection = connection;
      this.first = first;
    }

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      return connection.send(buffers.doOnNext(this::count));
    }

    private void count(TransportBuffer buffer) {
      if (sent.addAndGet(buffer.bytes().remaining()) >= cutAfterBytes && first) {
        connection.dispose();
      }
    }

    @Override
    public Flux<TransportBuffer> receive() {
      return connection
          .receive()
          .doOnNext(buffer -> received.addAndGet(buffer.bytes().remaining()));
    }

    @Override
    public OptionalLong sendBusyNanos() {
      return connection.sendBusyNanos();
    }

    @Override
    public String peer() {
      return connection.peer();
    }

    @Override
    public void dispose() {
      connection.dispose();
    }

    @Override
    public Mono<Void> onDispose() {
      return connection.onDispose();
    }
  }
}
