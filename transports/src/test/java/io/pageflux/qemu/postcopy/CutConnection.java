package io.pageflux.qemu.postcopy;

import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.util.concurrent.atomic.AtomicLong;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A connection that breaks when so many bytes have been sent, or a few more. */
record CutConnection(Connection connection, long afterBytes) implements Connection {

  @Override
  public Mono<Void> send(Flux<TransportBuffer> buffers) {
    AtomicLong sent = new AtomicLong();
    return connection.send(
        buffers.doOnNext(
            buffer -> {
              if (sent.addAndGet(buffer.bytes().remaining()) > afterBytes) {
                connection.dispose();
              }
            }));
  }

  @Override
  public Flux<TransportBuffer> receive() {
    return connection.receive();
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
