package io.pageflux.qemu.postcopy;

import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Passes on copies of buffers that hold pages, and keeps the buffers: a link that is slow. */
final class HeldBuffers {

  private final List<TransportBuffer> held = new ArrayList<>();
  private boolean released;

  /** {@return a connection that does so} */
  Connection over(Connection connection) {
    return new Connection() {
      @Override
      public Mono<Void> send(Flux<TransportBuffer> buffers) {
        return connection.send(buffers.map(HeldBuffers.this::hold));
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
    };
  }

  private TransportBuffer hold(TransportBuffer buffer) {
    ByteBuffer copy = ByteBuffer.allocate(buffer.bytes().remaining());
    copy.put(buffer.bytes().duplicate()).flip();
    boolean keep;
    synchronized (this) {
      keep = buffer.bytes().isDirect() && !released; // only pages are in slabs
      if (keep) {
        held.add(buffer);
        notifyAll();
      }
    }
    if (!keep) {
      buffer.release();
    }
    return TransportBuffer.of(copy);
  }

  /** Waits until so many are kept. */
  synchronized void await(int count) throws InterruptedException {
    while (held.size() < count) {
      wait(60_000);
    }
  }

  /** Releases all, and keeps none from now on. */
  void releaseAll() {
    List<TransportBuffer> all;
    synchronized (this) {
      released = true;
      all = List.copyOf(held);
      held.clear();
    }
    all.forEach(TransportBuffer::release);
  }
}
