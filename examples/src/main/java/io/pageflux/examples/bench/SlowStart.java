package io.pageflux.examples.bench;

import io.pageflux.operator.BandwidthLimit;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.time.Duration;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** An acceptor whose connections are read slowly for a while. */
final class SlowStart implements Acceptor {

  private final Acceptor acceptor;
  private final long bytesPerSecond;
  private final Duration time;

  SlowStart(Acceptor acceptor, long bytesPerSecond, Duration time) {
    this.acceptor = acceptor;
    this.bytesPerSecond = bytesPerSecond;
    this.time = time;
  }

  @Override
  public Mono<Connection> accept() {
    return acceptor.accept().map(SlowConnection::new);
  }

  @Override
  public String address() {
    return acceptor.address();
  }

  @Override
  public void dispose() {
    acceptor.dispose();
  }

  private final class SlowConnection implements Connection {

    private final Connection connection;
    private final long untilNanos = System.nanoTime() + time.toNanos();

    SlowConnection(Connection connection) {
      this.connection = connection;
    }

    @Override
    public Flux<TransportBuffer> receive() {
      return connection
          .receive()
          .transform(
              BandwidthLimit.of(
                  buffer -> buffer.bytes().remaining(),
                  () -> System.nanoTime() < untilNanos ? bytesPerSecond : 0,
                  Schedulers.parallel()));
    }

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      return connection.send(buffers);
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
