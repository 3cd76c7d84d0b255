package io.pageflux.page;

import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Operators;
import reactor.core.scheduler.Scheduler;

/**
 * A subscriber that waits for a slab.
 *
 * <p>Exactly one of grant, refuse and cancel wins the state, so a lease is either handed on or
 * stays with the pool, whatever races.
 */
final class Waiter implements Subscription {

  private enum State {
    IDLE,
    WAITING,
    ENDED
  }

  private final SlabPool pool;
  private final CoreSubscriber<? super Lease> actual;
  private final @Nullable Scheduler scheduler;
  private final AtomicReference<State> state = new AtomicReference<>(State.IDLE);

  /**
   * @param scheduler where it wants its slab; null for wherever one becomes free
   */
  Waiter(SlabPool pool, CoreSubscriber<? super Lease> actual, @Nullable Scheduler scheduler) {
    this.pool = pool;
    this.actual = actual;
    this.scheduler = scheduler;
  }

  @Override
  public void request(long n) {
    if (Operators.validate(n) && state.compareAndSet(State.IDLE, State.WAITING)) {
      pool.await(this);
    }
  }

  @Override
  public void cancel() {
    if (state.getAndSet(State.ENDED) == State.WAITING) {
      pool.forget(this);
    }
  }

  /** {@return whether it was cancelled, or got what it waited for} */
  boolean hasEnded() {
    return state.get() == State.ENDED;
  }

  /** Hands over a lease. {@return false if nobody wants it any more; then it is the caller's} */
  boolean grant(Lease lease) {
    Scheduler where = scheduler;
    if (where == null) {
      return handOver(lease);
    }
    if (hasEnded()) {
      return false;
    }
    try {
      where.schedule(
          () -> {
            if (!handOver(lease)) {
              lease.release(); // Cancelled on the way.
            }
          });
      return true;
    } catch (RejectedExecutionException e) {
      return false; // Its thread has gone, and so has it.
    }
  }

  private boolean handOver(Lease lease) {
    if (!state.compareAndSet(State.WAITING, State.ENDED)) {
      return false;
    }
    actual.onNext(lease);
    actual.onComplete();
    return true;
  }

  void refuse() {
    if (state.compareAndSet(State.WAITING, State.ENDED)) {
      actual.onError(new IllegalStateException("the slab pool is closed"));
    }
  }
}
