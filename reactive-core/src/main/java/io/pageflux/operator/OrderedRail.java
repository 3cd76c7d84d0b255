package io.pageflux.operator;

import java.util.Objects;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicIntegerFieldUpdater;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.scheduler.Scheduler;

/** One worker and the thread that it has now and then. */
final class OrderedRail<T> implements Runnable {

  /** Where a rail finds its work, and whom it tells. */
  interface Owner<T> {

    /** Hands out the next element that waits for a rail, or null. */
    @Nullable OrderedSlot<T> nextTask();

    /** Whether an element waits for a rail. */
    boolean hasTask();

    /** Releases an element that will not be emitted. */
    void discard(T element);

    /** Emits what has become ready. */
    void drain();
  }

  private static final int RESTING = 0;
  private static final int AT_WORK = 1;
  private static final int CLOSED = 2;

  @SuppressWarnings("rawtypes")
  private static final AtomicIntegerFieldUpdater<OrderedRail> STATE =
      AtomicIntegerFieldUpdater.newUpdater(OrderedRail.class, "state");

  private final Owner<T> owner;
  private final Scheduler.Worker thread;
  private final Supplier<? extends OrderedParallelMap.Worker<T>> maker;
  private volatile int state;
  private volatile boolean toClose;
  // Touched only by who brought the state from RESTING to AT_WORK or CLOSED.
  private OrderedParallelMap.@Nullable Worker<T> worker;

  OrderedRail(
      Owner<T> owner, Scheduler scheduler, Supplier<? extends OrderedParallelMap.Worker<T>> maker) {
    this.owner = owner;
    this.thread = scheduler.createWorker();
    this.maker = maker;
  }

  /** Sets the rail to work if it rests. {@return whether it did} */
  boolean wake() {
    if (!STATE.compareAndSet(this, RESTING, AT_WORK)) {
      return false;
    }
    try {
      thread.schedule(this);
    } catch (RejectedExecutionException e) {
      // The scheduler is gone. The task's own slot carries the news.
      OrderedSlot<T> slot = owner.nextTask();
      if (slot != null && slot.take()) {
        owner.discard(slot.element());
        slot.fail(e);
      }
      rest();
      owner.drain();
    }
    return true;
  }

  @Override
  public void run() {
    do {
      for (OrderedSlot<T> slot = owner.nextTask(); slot != null; slot = owner.nextTask()) {
        if (slot.take()) {
          work(slot);
          owner.drain();
        }
      }
      rest();
      // A task that came between the last look and the rest found no rail at rest, perhaps.
    } while (!toClose && owner.hasTask() && STATE.compareAndSet(this, RESTING, AT_WORK));
  }

  private void work(OrderedSlot<T> slot) {
    T element = slot.element();
    try {
      OrderedParallelMap.Worker<T> mine = worker;
      if (mine == null) {
        mine = maker.get();
        worker = mine;
      }
      T result = Objects.requireNonNull(mine.apply(element), "a worker returned null");
      if (!slot.settle(result)) {
        owner.discard(result);
      }
    } catch (Throwable e) {
      // A lack of memory, too, has to be told downstream, and leaves a worker to be closed.
      owner.discard(element);
      slot.fail(e);
    }
  }

  private void rest() {
    state = RESTING;
    if (toClose) {
      closeIfResting();
    }
  }

  void close() {
    toClose = true;
    closeIfResting();
  }

  private void closeIfResting() {
    if (STATE.compareAndSet(this, RESTING, CLOSED)) {
      OrderedParallelMap.Worker<T> mine = worker;
      if (mine != null) {
        mine.close();
      }
      thread.dispose();
    }
  }
}
