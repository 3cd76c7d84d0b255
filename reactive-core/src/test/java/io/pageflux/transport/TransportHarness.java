package io.pageflux.transport;

import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** What the contracts of transports need of a transport's test. */
public interface TransportHarness {

  /** What {@link #connector()} connects to, the same during one test. */
  Acceptor acceptor();

  /** Connects to {@link #acceptor()}. */
  Connector connector();

  /** How many buffers a send may request ahead of what was received, besides what is in sockets. */
  int window();

  /** How many bytes may be on the way between a window's buffers and a receiver. */
  long bytesOnTheWay();

  /** Longer than anything here takes. */
  Duration PATIENCE = Duration.ofSeconds(30);

  /** A connection and its other end. */
  default InMemoryTransport.Pair connect() {
    Connection client = Objects.requireNonNull(connector().connect().block(PATIENCE));
    Connection server = Objects.requireNonNull(acceptor().accept().block(PATIENCE));
    return new InMemoryTransport.Pair(client, server);
  }

  /**
   * Lets the transport do whatever it still has to: a few hundred round trips over another
   * connection, on the same threads, after which those had many turns.
   */
  default void settle() {
    InMemoryTransport.Pair pair = connect();
    Sinks.Many<TransportBuffer> pings = Sinks.many().unicast().onBackpressureBuffer();
    Sinks.Many<TransportBuffer> pongs = Sinks.many().unicast().onBackpressureBuffer();
    Disposable sending = pair.first().send(pings.asFlux()).onErrorComplete().subscribe();
    Disposable echoing = pair.second().send(pongs.asFlux()).onErrorComplete().subscribe();
    Disposable answering =
        pair.second().receive().subscribe(ping -> pongs.tryEmitNext(copyOf(ping)));
    AtomicInteger trips = new AtomicInteger();
    Mono<Void> done =
        pair.first()
            .receive()
            .doOnSubscribe(s -> pings.tryEmitNext(bytes(1)))
            .doOnNext(pong -> pings.tryEmitNext(copyOf(pong)))
            .takeUntil(pong -> trips.incrementAndGet() == 300)
            .then();
    done.block(PATIENCE);
    sending.dispose();
    echoing.dispose();
    answering.dispose();
    pair.first().dispose();
    pair.second().dispose();
  }

  /** A copy of a buffer, which is released. */
  static TransportBuffer copyOf(TransportBuffer buffer) {
    ByteBuffer copy = ByteBuffer.allocateDirect(buffer.bytes().remaining());
    copy.put(buffer.bytes().duplicate()).flip();
    buffer.release();
    return TransportBuffer.of(copy);
  }

  /** A direct buffer of a few bytes. */
  static TransportBuffer bytes(int... values) {
    ByteBuffer direct = ByteBuffer.allocateDirect(values.length);
    for (int value : values) {
      direct.put((byte) value);
    }
    return TransportBuffer.of(direct.flip());
  }
}
