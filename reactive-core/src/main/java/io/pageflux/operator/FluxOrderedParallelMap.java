package io.pageflux.operator;

import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
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
  private static final class Main<T> implements CoreSubscriber<T>, Subscription, Scannable {

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
    private final Rail<T>[] rails;
    private final Queue<Slot<T>> order;
    private final Queue<Slot<T>> tasks = new ConcurrentLinkedQueue<>();

    private @Nullable Subscription upstream;
    private volatile int wip;
    private volatile long requested;
    private volatile boolean cancelled;
    private volatile boolean done;
    // Written before done, read after it.
    private @Nullable Throwable error;
    // Only in the drain: the terminal signal has been sent.
    private boolean ended;

    @SuppressWarnings({"unchecked", "rawtypes"})
    Main(CoreSubscriber<? super T> actual, FluxOrderedParallelMap<T> operator) {
      this.actual = actual;
      this.context = actual.currentContext();
      this.inFlight = operator.inFlight;
      this.concerns = operator.concerns;
      this.release = operator.release;
      this.order = Queues.<Slot<T>>get(operator.inFlight).get();
      this.rails = new Rail[operator.parallelism];
      for (int i = 0; i < rails.length; i++) {
        rails[i] = new Rail<>(this, operator.scheduler, operator.workers);
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
      if (cancelled) {
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
      Slot<T> slot = new Slot<>(element, !toWork);
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
        for (Rail<T> rail : rails) {
          if (rail.wake()) {
            break;
          }
        }
        // All rails are busy: each looks for another task before it rests.
      }
      if (!toWork || cancelled) {
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

    void discard(T element) {
      release.accept(element);
      Operators.onDiscard(element, context);
    }

    void drain() {
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
        Slot<T> slot = order.peek();
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
      for (Slot<T> slot = order.poll(); slot != null; slot = order.poll()) {
        if (slot.abandon()) {
          discard(slot.element());
        }
      }
      closeRails();
    }

    private void closeRails() {
      for (Rail<T> rail : rails) {
        rail.close();
      }
    }

    @Nullable Slot<T> nextTask() {
      return tasks.poll();
    }

    boolean hasTask() {
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

  /** An element's place in the order, and how far it is. */
  private static final class Slot<T> {

    private static final int WAITING = 0;
    private static final int IN_HANDS = 1;
    private static final int SETTLED = 2;
    private static final int ABANDONED = 3;

    @SuppressWarnings("rawtypes")
    private static final AtomicIntegerFieldUpdater<Slot> STATE =
        AtomicIntegerFieldUpdater.newUpdater(Slot.class, "state");

    // Written before the state becomes SETTLED, read after it.
    private T element;
    private @Nullable Throwable failure;
    private volatile int state;

    Slot(T element, boolean settled) {
      this.element = element;
      this.state = settled ? SETTLED : WAITING;
    }

    boolean isSettled() {
      return state == SETTLED;
    }

    T element() {
      return element;
    }

    @Nullable Throwable failure() {
      return failure;
    }

    /** A rail takes the element. {@return false if it was abandoned} */
    boolean take() {
      return STATE.compareAndSet(this, WAITING, IN_HANDS);
    }

    /** The rail is done with it. {@return false if it was abandoned: the rail releases it} */
    boolean settle(T result) {
      element = result;
      return STATE.compareAndSet(this, IN_HANDS, SETTLED);
    }

    /** The rail failed, and has released it. */
    void fail(Throwable e) {
      failure = e;
      STATE.compareAndSet(this, IN_HANDS, SETTLED);
    }

    /** Nobody will emit it. {@return whether the caller is to release it} */
    boolean abandon() {
      int before = STATE.getAndSet(this, ABANDONED);
      return before == WAITING || before == SETTLED && failure == null;
    }
  }

  /** One worker and the thread that it has now and then. */
  private static final class Rail<T> implements Runnable {

    private static final int RESTING = 0;
    private static final int AT_WORK = 1;
    private static final int CLOSED = 2;

    @SuppressWarnings("rawtypes")
    private static final AtomicIntegerFieldUpdater<Rail> STATE =
        AtomicIntegerFieldUpdater.newUpdater(Rail.class, "state");

    private final Main<T> main;
    private final Scheduler.Worker thread;
    private final Supplier<? extends OrderedParallelMap.Worker<T>> maker;
    private volatile int state;
    private volatile boolean toClose;
    // Touched only by who brought the state from RESTING to AT_WORK or CLOSED.
    private OrderedParallelMap.@Nullable Worker<T> worker;

    Rail(
        Main<T> main, Scheduler scheduler, Supplier<? extends OrderedParallelMap.Worker<T>> maker) {
      this.main = main;
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
        Slot<T> slot = main.nextTask();
        if (slot != null && slot.take()) {
          main.discard(slot.element());
          slot.fail(e);
        }
        rest();
        main.drain();
      }
      return true;
    }

    @Override
    public void run() {
      do {
        for (Slot<T> slot = main.nextTask(); slot != null; slot = main.nextTask()) {
          if (slot.take()) {
            work(slot);
            main.drain();
          }
        }
        rest();
        // A task that came between the last look and the rest found no rail at rest, perhaps.
      } while (!toClose && main.hasTask() && STATE.compareAndSet(this, RESTING, AT_WORK));
    }

    private void work(Slot<T> slot) {
      T element = slot.element();
      try {
        OrderedParallelMap.Worker<T> mine = worker;
        if (mine == null) {
          mine = maker.get();
          worker = mine;
        }
        T result = mine.apply(element);
        if (!slot.settle(result)) {
          main.discard(result);
        }
      } catch (Throwable e) {
        main.discard(element);
        slot.fail(e);
        if (e instanceof VirtualMachineError fatal) {
          main.drain();
          throw fatal;
        }
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
}
