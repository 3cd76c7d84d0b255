package io.pageflux.operator;

import java.util.concurrent.atomic.AtomicIntegerFieldUpdater;
import org.jspecify.annotations.Nullable;

/** An element's place in the order, and how far it is. */
final class OrderedSlot<T> {

  private static final int WAITING = 0;
  private static final int IN_HANDS = 1;
  private static final int SETTLED = 2;
  private static final int ABANDONED = 3;

  @SuppressWarnings("rawtypes")
  private static final AtomicIntegerFieldUpdater<OrderedSlot> STATE =
      AtomicIntegerFieldUpdater.newUpdater(OrderedSlot.class, "state");

  // Written before the state becomes SETTLED, read after it.
  private T element;
  private @Nullable Throwable failure;
  private volatile int state;

  OrderedSlot(T element, boolean settled) {
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
