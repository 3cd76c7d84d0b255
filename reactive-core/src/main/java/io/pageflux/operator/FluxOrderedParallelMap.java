package io.pageflux.operator;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicIntegerFieldUpdater;
import java.util.concurrent.atomic.AtomicLongFieldUpdater;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.Scannable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxOperator;
import reactor.core.publisher.Operators;
import reactor.core.scheduler.Scheduler;
import reactor.util.concurrent.Queues;
import reactor.util.context.Context;

/** See {@link OrderedParallelMap}. */
final class FluxOrderedParallelMap<T> extends FluxOperator<T, T> {

  private final int parallelism;
  private final int inFlight;
  private final Scheduler scheduler;
  private final Supplier<? extends OrderedParallelMap.Worker<T>> workers;
  private final Predicate<? super T> concerns;
  private final Consumer<? super T> release;

  FluxOrderedParallelMap(
      Flux<T> source,
      int parallelism,
      int inFlight,
      Scheduler scheduler,
      Supplier<? extends OrderedParallelMap.Worker<T>> workers,
      Predicate<? super T> concerns,
      Consumer<? super T> release) {
    super(source);
    this.parallelism = parallelism;
    this.inFlight = inFlight;
    this.scheduler = scheduler;
    this.workers = workers;
    this.concerns = concerns;
    this.release = release;
  }

  @Override
  public void subscribe(CoreSubscriber<? super T> actual) {
    source.subscribe(new Main<>(actual, this));
  }

  @Override
  public int getPrefetch() {
    return inFlight;
  }

  @Override
  @SuppressWarnings("rawtypes") // Reactor's signature
  public @Nullable Object scanUnsafe(Attr key) {
    if (key == Attr.RUN_STYLE) {
      return Attr.RunStyle.ASYNC;
    }
    return key == Attr.RUN_ON ? scheduler : super.scanUnsafe(key);
  }

  /**
   * The subscriber in the middle.
   *
   * <p>Slots stand in {@code order} as their elements came. A rail (one thread's worth of work)
   * takes slots from {@code tasks}, and {@code drain} emits from the head of {@code order} what is
   * ready. {@code wip} admits one thread at a time to the drain, so that all signals to {@code
   * actual} are serial and {@code order} has a single consumer.
   *
   * <p>After a cancel or an error only the drain empties {@code order}; each slot's state decides
   * whether the drain or the rail that has it in hands releases its element.
   */
  private static final class Main<T>
      implements CoreSubscriber<T>, Subscription, Scannable, OrderedRail.Owner<T> {

    @SuppressWarnings("rawtypes")
    private static final AtomicIntegerFieldUpdater<Main> WIP =
        AtomicIntegerFieldUpdater.newUpdater(Main.class, "wip");

    @SuppressWarnings("rawtypes")
    private static final AtomicLongFieldUpdater<Main> REQUESTED =
        AtomicLongFieldUpdater.newUpdater(Main.class, "requested");

    private final CoreSubscriber<? super T> actual;
    private final Context context;
    private final int inFlight;
    private final Predicate<? super T> concerns;
    private final Consumer<? super T> release;
    private final OrderedRail<T>[] rails;
    private final Queue<OrderedSlot<T>> order;
    private final Queue<OrderedSlot<T>> tasks = new ConcurrentLinkedQueue<>();

    private @Nullable Subscription upstream;
    private volatile int wip;
    private volatile long requested;
    private volatile boolean cancelled;
    private volatile boolean done;
    // Written before done, read after it.
    private @Nullable Throwable error;
    // Set in the drain: the terminal signal has been sent.
    private volatile boolean ended;

    @SuppressWarnings({"unchecked", "rawtypes"})
    Main(CoreSubscriber<? super T> actual, FluxOrderedParallelMap<T> operator) {
      this.actual = actual;
      this.context = actual.currentContext();
      this.inFlight = operator.inFlight;
      this.concerns = operator.concerns;
      this.release = operator.release;
      this.order = Queues.<OrderedSlot<T>>get(operator.inFlight).get();
      this.rails = new OrderedRail[operator.parallelism];
      for (int i = 0; i < rails.length; i++) {
        rails[i] = new OrderedRail<>(this, operator.scheduler, operator.workers);
      }
    }

    @Override
    public Context currentContext() {
      return context;
    }

    @Override
    public void onSubscribe(Subscription s) {
      if (Operators.validate(upstream, s)) {
        upstream = s;
        actual.onSubscribe(this);
        s.request(inFlight);
      }
    }

    @Override
    public void onNext(T element) {
      if (done) {
        discard(element);
        Operators.onNextDropped(element, context);
        return;
      }
      if (cancelled || ended) {
        discard(element);
        return;
      }
      boolean toWork;
      try {
        toWork = concerns.test(element);
      } catch (Throwable e) {
        discard(element);
        fail(Operators.onOperatorError(upstream, e, context));
        return;
      }
      OrderedSlot<T> slot = new OrderedSlot<>(element, !toWork);
      if (!order.offer(slot)) {
        discard(element);
        fail(
            Operators.onOperatorError(
                upstream,
                new IllegalStateException("the source emits more than was requested"),
                context));
        return;
      }
      if (toWork) {
        tasks.add(slot);
        for (OrderedRail<T> rail : rails) {
          if (rail.wake()) {
            break;
          }
        }
        // All rails are busy: each looks for another task before it rests.
      }
      // After the end only the drain empties the queue, and nobody else will come to call it.
      if (!toWork || cancelled || ended) {
        drain();
      }
    }

    @Override
    public void onError(Throwable e) {
      if (done) {
        Operators.onErrorDropped(e, context);
        return;
      }
      fail(e);
    }

    private void fail(Throwable e) {
      error = e;
      done = true;
      drain();
    }

    @Override
    public void onComplete() {
      done = true;
      drain();
    }

    @Override
    public void request(long n) {
      if (Operators.validate(n)) {
        Operators.addCap(REQUESTED, this, n);
        drain();
      }
    }

    @Override
    public void cancel() {
      if (!cancelled) {
        cancelled = true;
        cancelUpstream();
        drain();
      }
    }

    private void cancelUpstream() {
      Subscription s = upstream;
      if (s != null) {
        s.cancel();
      }
    }

    @Override
    public void discard(T element) {
      release.accept(element);
      Operators.onDiscard(element, context);
    }

    @Override
    public void drain() {
      if (WIP.getAndIncrement(this) != 0) {
        return;
      }
      int missed = 1;
      do {
        emitReady();
        missed = WIP.addAndGet(this, -missed);
      } while (missed != 0);
    }

    private void emitReady() {
      long demand = requested;
      long emitted = 0;
      while (true) {
        if (cancelled || ended) {
          abandonAll();
          return;
        }
        // Before the queue is looked at: an element offered before "done" must be seen after it.
        boolean wasDone = done;
        OrderedSlot<T> slot = order.peek();
        if (slot == null) {
          if (wasDone) {
            end(error);
          }
          break;
        }
        if (!slot.isSettled()) {
          break;
        }
        Throwable failure = slot.failure();
        if (failure != null) {
          cancelUpstream();
          end(failure);
          abandonAll();
          return;
        }
        if (emitted == demand) {
          break;
        }
        order.poll();
        actual.onNext(slot.element());
        emitted++;
      }
      if (emitted > 0 && !ended) {
        if (demand != Long.MAX_VALUE) {
          REQUESTED.addAndGet(this, -emitted);
        }
        Subscription s = upstream;
        if (s != null) {
          s.request(emitted);
        }
      }
    }

    private void end(@Nullable Throwable e) {
      ended = true;
      closeRails();
      if (e == null) {
        actual.onComplete();
      } else {
        actual.onError(e);
      }
    }

    private void abandonAll() {
      tasks.clear();
      for (OrderedSlot<T> slot = order.poll(); slot != null; slot = order.poll()) {
        if (slot.abandon()) {
          discard(slot.element());
        }
      }
      closeRails();
    }

    private void closeRails() {
      for (OrderedRail<T> rail : rails) {
        rail.close();
      }
    }

    @Override
    public @Nullable OrderedSlot<T> nextTask() {
      return tasks.poll();
    }

    @Override
    public boolean hasTask() {
      return !tasks.isEmpty();
    }

    @Override
    @SuppressWarnings("rawtypes") // Reactor's signature
    public @Nullable Object scanUnsafe(Attr key) {
      if (key == Attr.PARENT) {
        return upstream;
      } else if (key == Attr.ACTUAL) {
        return actual;
      } else if (key == Attr.PREFETCH) {
        return inFlight;
      } else if (key == Attr.BUFFERED) {
        return order.size();
      } else if (key == Attr.REQUESTED_FROM_DOWNSTREAM) {
        return requested;
      } else if (key == Attr.TERMINATED) {
        return done && order.isEmpty();
      } else if (key == Attr.CANCELLED) {
        return cancelled;
      } else if (key == Attr.ERROR) {
        return error;
      } else if (key == Attr.RUN_STYLE) {
        return Attr.RunStyle.ASYNC;
      }
      return null;
    }
  }
}
