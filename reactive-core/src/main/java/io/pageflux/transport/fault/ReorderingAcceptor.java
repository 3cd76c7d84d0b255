package io.pageflux.transport.fault;

import io.pageflux.transport.AcceptQueue;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * Hands connections out in another order than they came in.
 *
 * <p>As many are accepted as somebody asks for, and the rest of their group: a group that lacks
 * some is handed out when nobody else comes.
 */
final class ReorderingAcceptor implements Acceptor {

  private final Acceptor real;
  private final int size;
  private final Random order;
  private final Duration patience;
  private final Scheduler timer;
  private final AcceptQueue<Connection> queue;
  private final AtomicInteger wanted = new AtomicInteger();
  private final AtomicBoolean gathering = new AtomicBoolean();
  private final Disposable.Swap accepting = Disposables.swap();

  // Guarded by this object's monitor.
  private final List<Connection> group = new ArrayList<>();
  private boolean disposed;

  ReorderingAcceptor(Acceptor real, int size, long seed, Duration patience, Scheduler timer) {
    if (size < 1 || size > AcceptQueue.MAX_WAITING) {
      throw new IllegalArgumentException(
          "a group has 1 to %d connections, not %d".formatted(AcceptQueue.MAX_WAITING, size));
    }
    this.real = real;
    this.size = size;
    this.order = new Random(seed);
    this.patience = patience;
    this.timer = timer;
    this.queue = new AcceptQueue<>(real::address);
  }

  @Override
  public Mono<Connection> accept() {
    return Mono.defer(
        () -> {
          wanted.incrementAndGet();
          gather();
          return queue.accept();
        });
  }

  /** Accepts the next one, unless somebody is at it or nobody wants one. */
  private void gather() {
    if (!gathering.compareAndSet(false, true)) {
      return;
    }
    boolean begun;
    synchronized (this) {
      begun = !group.isEmpty();
    }
    if (!begun && wanted.get() <= 0) {
      gathering.set(false);
      if (wanted.get() > 0) {
        gather(); // asked meanwhile
      }
      return;
    }
    Mono<Void> next = real.accept().doOnNext(this::arrived).then();
    Mono<Void> soon =
        begun ? next.timeout(patience, Mono.fromRunnable(this::handOut), timer) : next;
    // Known before it begins: one that is there already ends it, and begins the next one, at once.
    Accepting accepted = new Accepting();
    accepting.update(accepted);
    soon.subscribe(accepted);
  }

  /** Waits for the next connection. */
  private final class Accepting extends BaseSubscriber<Void> {

    @Override
    protected void hookOnComplete() {
      again();
    }

    @Override
    protected void hookOnError(Throwable e) {
      refuse(e);
    }
  }

  private void again() {
    gathering.set(false);
    gather();
  }

  private void refuse(Throwable e) {
    gathering.set(false);
    handOut();
    queue.close();
  }

  private void arrived(Connection connection) {
    boolean full;
    synchronized (this) {
      if (disposed) {
        connection.dispose();
        return;
      }
      group.add(connection);
      full = group.size() >= size;
    }
    if (full) {
      handOut();
    }
  }

  private void handOut() {
    List<Connection> ready;
    synchronized (this) {
      ready = new ArrayList<>(group);
      group.clear();
      Collections.shuffle(ready, order);
    }
    for (Connection connection : ready) {
      wanted.decrementAndGet();
      if (!queue.offer(connection)) {
        connection.dispose();
      }
    }
  }

  @Override
  public String address() {
    return real.address();
  }

  @Override
  public void dispose() {
    List<Connection> unclaimed;
    synchronized (this) {
      disposed = true;
      unclaimed = new ArrayList<>(group);
      group.clear();
    }
    accepting.dispose();
    real.dispose();
    unclaimed.forEach(Connection::dispose);
    queue.close();
  }
}
