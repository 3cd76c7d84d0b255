package io.pageflux.qemu.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuReturnMessage;
import io.pageflux.qemu.stream.QemuReturnReader;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Sinks;

/**
 * One connection to the destination's QEMU: what is on its way there, and what has come back.
 *
 * <p>Few buffers are on their way at a time, and fewer yet of those that nobody waits for: whatever
 * has left cannot be overtaken any more.
 *
 * <p><b>Threading:</b> requests are noted by the transport's threads; all else is for the session's
 * thread, which may be blocked. The bell's monitor guards everything, the pages that are left
 * included.
 *
 * <p><b>Memory bound:</b> {@value #MAX_BUFFERS} slabs, as many buffers of up to 64 KiB before the
 * guest runs, and {@value #MAX_ANSWERS} answers, which hold a bit for each page of one block.
 */
final class DestinationLine extends BaseSubscriber<TransportBuffer> implements AutoCloseable {

  /** How many buffers are on their way at the most. */
  static final int MAX_BUFFERS = 16;

  /** How many of them may be pages that nobody waits for: one is filled while one is written. */
  static final int MAX_BACKGROUND_BUFFERS = 2;

  private static final int MAX_ANSWERS = 16;

  /** How long a transport may hold buffers after its connection was closed. */
  private static final Duration RELEASE_TIMEOUT = Duration.ofSeconds(10);

  private final Connection connection;
  private final Bell bell;
  private final PagesLeft left;
  private final QemuReturnReader reader;
  private final SlabPool slabs;
  private final Sinks.Many<TransportBuffer> outgoing =
      Sinks.many().unicast().onBackpressureBuffer();

  // All guarded by the bell's monitor.
  private final ArrayDeque<QemuReturnMessage> answers = new ArrayDeque<>();
  private @Nullable MigrationException lost;
  private @Nullable RuntimeException fault;
  private boolean mayRequest;
  private int bitmapAwaited = -1;
  private int underWay;
  private int backgroundUnderWay;
  private long requests;
  private boolean closed;

  /**
   * Begins to send and to receive.
   *
   * @param slabs for the pages; closed with this when none is leased any more
   */
  DestinationLine(
      Connection connection, Bell bell, PagesLeft left, QemuReturnReader reader, SlabPool slabs) {
    this.connection = connection;
    this.bell = bell;
    this.left = left;
    this.reader = reader;
    this.slabs = slabs;
  }

  void open() {
    connection.receive().subscribe(this);
    connection.send(outgoing.asFlux()).subscribe(v -> {}, this::lose);
  }

  SlabPool slabs() {
    return slabs;
  }

  String peer() {
    return connection.peer();
  }

  @Override
  protected void hookOnSubscribe(Subscription subscription) {
    subscription.request(Long.MAX_VALUE);
  }

  @Override
  protected void hookOnNext(TransportBuffer buffer) {
    long nanos = System.nanoTime();
    synchronized (bell) {
      try {
        if (!closed && fault == null) {
          ByteBuffer bytes = buffer.bytes();
          for (QemuReturnMessage message = reader.read(bytes);
              message != null;
              message = reader.read(bytes)) {
            take(message, nanos);
          }
        }
      } catch (RuntimeException e) {
        fault = e;
      } finally {
        buffer.release();
        bell.ring();
      }
    }
  }

  private void take(QemuReturnMessage message, long nanos) {
    switch (message) {
      case QemuReturnMessage.PageRequest request -> {
        if (!mayRequest) {
          throw outOfTurn("requests pages", "it has not been given the guest");
        }
        requests++;
        left.request(request.block(), request.firstPage(), request.pages(), nanos);
      }
      case QemuReturnMessage.ReceivedPages received -> {
        if (received.block() != bitmapAwaited) {
          throw outOfTurn("says what it has received", "nobody has asked about that block");
        }
        bitmapAwaited = -1;
        answer(message);
      }
      case QemuReturnMessage.SwitchoverAck ack -> {} // It agrees, but was not asked.
      default -> answer(message);
    }
  }

  private void answer(QemuReturnMessage message) {
    if (answers.size() == MAX_ANSWERS) {
      throw outOfTurn("talks on and on", "nobody has asked it that much");
    }
    answers.add(message);
  }

  private MigrationException outOfTurn(String what, String but) {
    return MigrationException.of(
        Kind.PROTOCOL, "QEMU at %s %s, but %s".formatted(connection.peer(), what, but));
  }

  @Override
  protected void hookOnComplete() {
    try {
      reader.end();
      lose(
          MigrationException.of(
              Kind.TRANSPORT, "QEMU at %s has closed the connection".formatted(connection.peer())));
    } catch (MigrationException e) {
      lose(e);
    }
  }

  @Override
  protected void hookOnError(Throwable e) {
    lose(e);
  }

  private void lose(Throwable e) {
    synchronized (bell) {
      if (lost == null && !closed) {
        lost = MigrationException.ofAny(e);
      }
      bell.ring();
    }
  }

  /** {@return whether nothing but the connection is at fault} */
  boolean isLost() {
    synchronized (bell) {
      return lost != null && fault == null;
    }
  }

  private void throwIfOver() {
    if (fault != null) {
      throw fault;
    }
    // What came before is taken first: it may say why.
    if (lost != null && answers.isEmpty()) {
      throw lost;
    }
  }

  /** From here on QEMU may request pages. */
  void handOver() {
    synchronized (bell) {
      mayRequest = true;
    }
  }

  /** QEMU has said what it has of a block. */
  void arrived(QemuReturnMessage.ReceivedPages received) {
    synchronized (bell) {
      left.arrived(received.block(), received.pages());
    }
  }

  /** From here on QEMU may say what it has of a block. */
  void expectBitmap(int block) {
    synchronized (bell) {
      bitmapAwaited = block;
    }
  }

  /**
   * Waits for an answer.
   *
   * @throws MigrationException of kind {@code TIMEOUT} if none comes, {@code GUEST} if QEMU says
   *     that it has failed, {@code PROTOCOL} if it says something else
   */
  QemuReturnMessage await(Predicate<QemuReturnMessage> wanted, String what, Duration patience)
      throws InterruptedException {
    long until = System.nanoTime() + patience.toNanos();
    synchronized (bell) {
      while (true) {
        QemuReturnMessage answer = answers.poll();
        if (answer != null) {
          if (wanted.test(answer)) {
            return answer;
          }
          requirePong(answer);
          continue;
        }
        throwIfOver();
        if (System.nanoTime() - until >= 0) {
          throw MigrationException.of(
              Kind.TIMEOUT,
              "QEMU at %s has not %s within %d s"
                  .formatted(connection.peer(), what, patience.toSeconds()));
        }
        bell.await(until);
      }
    }
  }

  /** Checks an answer that is nothing but an answer to a ping. */
  private void requirePong(QemuReturnMessage answer) {
    switch (answer) {
      case QemuReturnMessage.Pong pong -> {}
      case QemuReturnMessage.Shut shut ->
          throw shut.value() == 0
              ? outOfTurn("says that it has everything", "it was not sent all of it")
              : MigrationException.of(
                  Kind.GUEST,
                  "QEMU at %s says that it has failed (%d): its own messages say why"
                      .formatted(connection.peer(), shut.value()));
      default -> throw outOfTurn("answers " + answer, "nobody has asked that");
    }
  }

  /**
   * Waits for pages to be sent.
   *
   * @param most how many pages may be sent at once in the background
   * @param backgroundNanos from when on those may be sent that nobody waits for
   * @param untilNanos how long to wait
   * @return pages, which do not count as left any more; null if none are left, if there is an
   *     answer, or if time is over
   */
  PagesLeft.@Nullable Run next(int most, long backgroundNanos, long untilNanos)
      throws InterruptedException {
    synchronized (bell) {
      while (true) {
        throwIfOver();
        long now = System.nanoTime();
        if (!answers.isEmpty() || left.pages() == 0 || now - untilNanos >= 0) {
          return null;
        }
        long wakeNanos = untilNanos;
        if (underWay < MAX_BUFFERS) {
          PagesLeft.Run requested = left.takeRequested();
          if (requested != null) {
            return requested;
          }
          if (backgroundUnderWay < MAX_BACKGROUND_BUFFERS) {
            if (now - backgroundNanos >= 0) {
              return left.takeNext(most);
            }
            wakeNanos = backgroundNanos - untilNanos < 0 ? backgroundNanos : untilNanos;
          }
        }
        bell.await(wakeNanos);
      }
    }
  }

  /** {@return the next answer that is not to be waited for, if there is one} */
  @Nullable QemuReturnMessage poll() {
    synchronized (bell) {
      QemuReturnMessage answer = answers.poll();
      if (answer != null) {
        requirePong(answer);
      }
      return answer;
    }
  }

  long pagesLeft() {
    synchronized (bell) {
      return left.pages();
    }
  }

  /** {@return how many requests have come by this connection} */
  long requests() {
    synchronized (bell) {
      return requests - left.vainRequests();
    }
  }

  /** {@return how many have come for what had been sent} */
  long vainRequests() {
    synchronized (bell) {
      return left.vainRequests();
    }
  }

  /** Waits until another buffer may be sent. */
  void awaitRoom(int most) throws InterruptedException {
    synchronized (bell) {
      while (underWay > most) {
        if (fault != null) {
          throw fault;
        }
        if (lost != null) {
          throw lost;
        }
        bell.await(Bell.never());
      }
    }
  }

  /** Sends bytes, when there is room for them. */
  void send(ByteBuffer bytes) throws InterruptedException {
    awaitRoom(MAX_BUFFERS - 1);
    send(TransportBuffer.of(bytes), false, () -> {});
  }

  /**
   * Sends a buffer.
   *
   * @param background whether nobody waits for it
   * @param onWritten called when it was written, or never will be
   */
  void send(TransportBuffer buffer, boolean background, Runnable onWritten) {
    synchronized (bell) {
      underWay++;
      if (background) {
        backgroundUnderWay++;
      }
    }
    TransportBuffer counted =
        new TransportBuffer(
            buffer.bytes(),
            () -> {
              buffer.release();
              onWritten.run();
              written(background);
            });
    if (outgoing.tryEmitNext(counted).isFailure()) {
      counted.release(); // nobody sends any more
    }
  }

  private void written(boolean background) {
    synchronized (bell) {
      underWay--;
      if (background) {
        backgroundUnderWay--;
      }
      bell.ring();
    }
  }

  /**
   * Closes the connection, and waits until all that was on its way has been given back.
   *
   * @throws IllegalStateException if it is not, though there is nobody who could hold it
   */
  @Override
  public void close() {
    synchronized (bell) {
      closed = true;
    }
    outgoing.tryEmitComplete();
    connection.dispose(); // which ends the receiving, too
    slabs.closeWhenIdle().block(RELEASE_TIMEOUT);
  }
}
