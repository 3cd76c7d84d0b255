package io.pageflux.qemu.capture;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.stream.QemuReturnWriter;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import reactor.core.publisher.Sinks;

/**
 * What the source's QEMU hears from its destination: answers to its pings, and how it ended.
 * Nothing is said before QEMU has asked for it.
 *
 * <p><b>Memory bound:</b> {@value #MOST_WAITING} messages of 8 bytes.
 *
 * <p><b>Threading:</b> for one thread at a time.
 */
final class ReturnPath {

  /** QEMU waits for the answer to each ping, or sends a handful. */
  private static final int MOST_WAITING = 1024;

  private final String peer;
  private final Sinks.Many<TransportBuffer> messages =
      Sinks.many().unicast().onBackpressureBuffer();
  private final AtomicInteger waiting = new AtomicInteger();
  private final CountDownLatch sent = new CountDownLatch(1);
  private volatile boolean open;

  ReturnPath(Connection connection) {
    this.peer = connection.peer();
    // That sending fails says no more than the receiving direction does.
    connection.send(messages.asFlux()).subscribe(v -> {}, e -> sent.countDown(), sent::countDown);
  }

  /** QEMU wants to hear. */
  void open() {
    open = true;
  }

  boolean isOpen() {
    return open;
  }

  /** Answers a ping with its number. */
  void pong(int number) {
    if (open) {
      say(QemuReturnWriter.pong(number));
    }
  }

  /** Says how it ended, and waits until that is on its way, but not for ever. */
  void shut(int how, Duration patience) {
    if (!open) {
      return;
    }
    open = false;
    say(QemuReturnWriter.shut(how));
    messages.tryEmitComplete();
    try {
      sent.await(patience.toNanos(), TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void say(ByteBuffer message) {
    if (waiting.incrementAndGet() > MOST_WAITING) {
      throw MigrationException.of(
          Kind.TRANSPORT,
          "%s does not read its return path: %d answers wait".formatted(peer, MOST_WAITING));
    }
    TransportBuffer buffer = new TransportBuffer(message, waiting::decrementAndGet);
    if (messages.tryEmitNext(buffer).isFailure()) {
      buffer.release(); // nobody sends any more
    }
  }
}
