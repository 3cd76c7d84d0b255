package io.pageflux.qemu.relay;

import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * What is on its way to the destination's QEMU: a few buffers, and no more of them before one was
 * written.
 *
 * <p><b>Threading:</b> {@link #put} is called by one thread at a time, and the next time when what
 * it returned has completed; buffers are released by any.
 */
final class QemuOutput {

  /** How many buffers may be on their way: enough for the transport to have one while it writes. */
  static final int MAX_BUFFERS = 3;

  private final Sinks.Many<TransportBuffer> sink = Sinks.many().unicast().onBackpressureBuffer();
  private final Runnable onWritten;

  // All guarded by this object's monitor.
  private int underWay;
  private long written;
  private int awaited; // how many buffers may be under way for the waiter to go on
  private Sinks.@Nullable Empty<Void> waiter;

  /**
   * @param onWritten called after each buffer, on whatever thread released it
   */
  QemuOutput(Runnable onWritten) {
    this.onWritten = onWritten;
  }

  /** {@return what to send; to be subscribed to once} */
  Flux<TransportBuffer> buffers() {
    return sink.asFlux();
  }

  /** {@return how many buffers have left} */
  synchronized long written() {
    return written;
  }

  /**
   * Sends some bytes.
   *
   * @param onRelease called once, when nobody needs them any more
   * @return completes when another buffer may be put
   */
  Mono<Void> put(ByteBuffer bytes, Runnable onRelease) {
    synchronized (this) {
      underWay++;
    }
    TransportBuffer buffer =
        new TransportBuffer(
            bytes,
            () -> {
              onRelease.run();
              released();
            });
    if (sink.tryEmitNext(buffer).isFailure()) {
      buffer.release(); // nobody sends any more
    }
    return untilUnderWay(MAX_BUFFERS - 1);
  }

  /** {@return completes when all buffers have left} */
  Mono<Void> drained() {
    return untilUnderWay(0);
  }

  private synchronized Mono<Void> untilUnderWay(int most) {
    if (underWay <= most) {
      return Mono.empty();
    }
    Sinks.Empty<Void> waiting = Sinks.empty();
    awaited = most;
    waiter = waiting;
    return waiting.asMono();
  }

  private void released() {
    Sinks.Empty<Void> waiting = null;
    synchronized (this) {
      underWay--;
      written++;
      if (waiter != null && underWay <= awaited) {
        waiting = waiter;
        waiter = null;
      }
    }
    onWritten.run();
    if (waiting != null) { // outside of the monitor: this goes on with the next record
      waiting.tryEmitEmpty();
    }
  }
}
