package io.pageflux.transport;

import io.pageflux.MigrationException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Operators;

/**
 * Brings connections and those who wait for one together: what an {@link Acceptor} is made of.
 *
 * <p>Both wait in the order of their coming. Connections wait without anybody asking for them, so
 * their number is bounded: {@value #MAX_WAITING}, as in a listen backlog.
 *
 * <p>Methods may be called from any thread. A subscriber is called on its own thread or on the one
 * that offers the connection, never with a lock held.
 *
 * @param <C> the kind of connection
 */
public final class AcceptQueue<C extends Connection> {

  /** How many connections may wait for somebody to accept them. */
  public static final int MAX_WAITING = 64;

  private final Supplier<String> address;

  // All below is guarded by this queue's monitor.
  private final ArrayDeque<C> connections = new ArrayDeque<>();
  private final ArrayDeque<Waiter> waiters = new ArrayDeque<>();
  private boolean closed;

  /**
   * Makes an open queue.
   *
   * @param address where the connections come in, for messages
   */
  public AcceptQueue(Supplier<String> address) {
    this.address = Objects.requireNonNull(address, "address");
  }

  /**
   * Hands a connection to who waits longest, or lets it wait.
   *
   * @return false if the queue is closed or full; the connection is still the caller's then
   */
  public boolean offer(C connection) {
    Objects.requireNonNull(connection, "connection");
    while (true) {
      Waiter waiter;
      synchronized (this) {
        if (closed) {
          return false;
        }
        waiter = waiters.poll();
        if (waiter == null) {
          return connections.size() < MAX_WAITING && connections.add(connection);
        }
      }
      if (waiter.grant(connection)) {
        return true;
      }
      // Cancelled meanwhile: the next one's turn.
    }
  }

  /**
   * {@return the next connection, as {@link Acceptor#accept()} has it} A subscriber that cancels
   * before it was served takes no connection.
   */
  public Mono<C> accept() {
    return new Acceptance();
  }

  /** Closes the connections that wait, and gives those who wait an error. May be called again. */
  public void close() {
    List<C> unclaimed;
    List<Waiter> refused;
    synchronized (this) {
      closed = true;
      unclaimed = new ArrayList<>(connections);
      refused = new ArrayList<>(waiters);
      connections.clear();
      waiters.clear();
    }
    unclaimed.forEach(Connection::dispose);
    refused.forEach(Waiter::refuse);
  }

  private void await(Waiter waiter) {
    C connection = null;
    boolean refused;
    synchronized (this) {
      refused = closed;
      if (!refused) {
        connection = connections.poll();
        if (connection == null) {
          waiters.add(waiter);
        }
      }
    }
    if (refused) {
      waiter.refuse();
    } else if (connection != null && !waiter.grant(connection) && !offer(connection)) {
      connection.dispose();
    }
  }

  private synchronized void forget(Waiter waiter) {
    waiters.remove(waiter);
  }

  private final class Acceptance extends Mono<C> {
    @Override
    public void subscribe(CoreSubscriber<? super C> actual) {
      actual.onSubscribe(new Waiter(actual));
    }
  }

  private enum State {
    IDLE,
    WAITING,
    ENDED
  }

  /** Exactly one of grant, refuse and cancel wins the state, so no connection is lost. */
  private final class Waiter implements Subscription {

    private final CoreSubscriber<? super C> actual;
    private final AtomicReference<@Nullable State> state = new AtomicReference<>(State.IDLE);

    Waiter(CoreSubscriber<? super C> actual) {
      this.actual = actual;
    }

    @Override
    public void request(long n) {
      if (Operators.validate(n) && state.compareAndSet(State.IDLE, State.WAITING)) {
        await(this);
      }
    }

    @Override
    public void cancel() {
      if (state.getAndSet(State.ENDED) == State.WAITING) {
        forget(this);
      }
    }

    boolean grant(C connection) {
      if (!state.compareAndSet(State.WAITING, State.ENDED)) {
        return false;
      }
      actual.onNext(connection);
      actual.onComplete();
      return true;
    }

    void refuse() {
      if (state.compareAndSet(State.WAITING, State.ENDED)) {
        actual.onError(
            MigrationException.of(
                MigrationException.Kind.TRANSPORT,
                "no connection can be accepted: " + address.get() + " was closed"));
      }
    }
  }
}
