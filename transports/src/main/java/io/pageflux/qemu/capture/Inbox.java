package io.pageflux.qemu.capture;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Mono;

/**
 * What the thread that writes files waits for: QEMU's connection, its bytes, and whatever ends it
 * all. Between the transport's threads, which must not be blocked, and that one, which is.
 *
 * <p><b>Demand:</b> one buffer, and the next one when it is taken.
 *
 * <p><b>Threading:</b> one thread waits; anybody calls {@link #fail}.
 *
 * <p><b>Discard and cancel:</b> {@link #close} closes the connection, and releases the buffer that
 * was not taken.
 */
final class Inbox extends BaseSubscriber<TransportBuffer> implements AutoCloseable {

  private final Disposable.Composite accepting = Disposables.composite();

  // All guarded by this object's monitor.
  private @Nullable Connection connection;
  private @Nullable TransportBuffer waiting;
  private @Nullable Throwable broken; // comes after the bytes that wait
  private @Nullable Throwable failure; // comes before them
  private boolean ended;
  private boolean closed;

  /**
   * Waits for QEMU to connect. A second connection, which QEMU makes for multifd and for
   * post-copy's urgent pages, is closed, and is a failure.
   */
  Connection accept(Acceptor acceptor) throws InterruptedException {
    accepting.add(Mono.<Connection>from(acceptor.accept()).subscribe(this::connected, this::fail));
    Connection first = awaitConnection();
    accepting.add(Mono.<Connection>from(acceptor.accept()).subscribe(this::refuse, e -> {}));
    first.receive().subscribe(this);
    return first;
  }

  private synchronized Connection awaitConnection() throws InterruptedException {
    while (true) {
      throwFailure();
      if (connection != null) {
        return connection;
      }
      wait();
    }
  }

  private void connected(Connection made) {
    synchronized (this) {
      if (!closed) {
        connection = made;
        notifyAll();
        return;
      }
    }
    made.dispose();
  }

  private void refuse(Connection second) {
    second.dispose();
    fail(
        MigrationException.of(
            Kind.PROTOCOL,
            "QEMU has opened a second connection: switch off its capabilities multifd and"
                + " postcopy-preempt, which cannot be captured"));
  }

  /** Ends it all; the first reason counts. */
  void fail(Throwable reason) {
    synchronized (this) {
      if (failure == null) {
        failure = reason;
      }
      notifyAll();
    }
  }

  private void throwFailure() {
    if (failure != null) {
      throw failure instanceof RuntimeException e ? e : MigrationException.ofAny(failure);
    }
  }

  /**
   * Waits for bytes.
   *
   * @return some, to be released; or null if there were none for so long, or there will be
   *     {@linkplain #isEnded() no more}
   * @throws RuntimeException why it all has ended
   */
  @Nullable TransportBuffer next(long nanos) throws InterruptedException {
    TransportBuffer taken = await(nanos);
    if (taken != null) {
      request(1);
    }
    return taken;
  }

  private synchronized @Nullable TransportBuffer await(long nanos) throws InterruptedException {
    long end = System.nanoTime() + nanos;
    while (true) {
      throwFailure();
      if (waiting != null) {
        TransportBuffer taken = waiting;
        waiting = null;
        return taken;
      }
      if (broken != null) {
        throw MigrationException.ofAny(broken);
      }
      long left = end - System.nanoTime();
      if (ended || left <= 0) {
        return null;
      }
      TimeUnit.NANOSECONDS.timedWait(this, Math.max(left, 1_000_000));
    }
  }

  /** {@return whether QEMU has closed the connection, and all its bytes have been taken} */
  synchronized boolean isEnded() {
    return ended && waiting == null;
  }

  @Override
  protected void hookOnSubscribe(Subscription subscription) {
    subscription.request(1);
  }

  @Override
  protected void hookOnNext(TransportBuffer buffer) {
    synchronized (this) {
      if (!closed) {
        waiting = buffer;
        notifyAll();
        return;
      }
    }
    buffer.release();
  }

  @Override
  protected synchronized void hookOnComplete() {
    ended = true;
    notifyAll();
  }

  @Override
  protected synchronized void hookOnError(Throwable e) {
    broken = e;
    notifyAll();
  }

  @Override
  public void close() {
    Connection made;
    TransportBuffer left;
    synchronized (this) {
      closed = true;
      made = connection;
      left = waiting;
      waiting = null;
    }
    accepting.dispose();
    cancel();
    if (left != null) {
      left.release();
    }
    if (made != null) {
      made.dispose();
    }
  }
}
