package io.pageflux.qemu.multifd;

import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Operators;

/** What goes over one connection; filled by a {@link Distribution}, in its drain only. */
final class OutgoingLane extends Flux<OutgoingItem> implements Subscription {

  private final Distribution distribution;
  private final AtomicBoolean taken = new AtomicBoolean();
  private final AtomicLong requested = new AtomicLong();
  private volatile @Nullable CoreSubscriber<? super OutgoingItem> actual;

  // For the drain only.
  private final Queue<OutgoingItem> queue = new ArrayDeque<>();
  private boolean ended;

  private volatile boolean complete;

  OutgoingLane(Distribution distribution) {
    this.distribution = distribution;
  }

  @Override
  public void subscribe(CoreSubscriber<? super OutgoingItem> subscriber) {
    if (!taken.compareAndSet(false, true)) {
      Operators.error(
          subscriber, new IllegalStateException("a connection's data can be sent only once"));
      return;
    }
    subscriber.onSubscribe(this);
    actual = subscriber;
    distribution.laneSubscribed();
  }

  @Override
  public void request(long n) {
    if (Operators.validate(n)) {
      requested.accumulateAndGet(n, Operators::addCap);
      distribution.drain();
    }
  }

  @Override
  public void cancel() {
    distribution.cancel();
  }

  /** Whether everything was passed on. */
  boolean isComplete() {
    return complete;
  }

  // ---- in the drain

  void add(OutgoingItem item) {
    queue.add(item);
  }

  int waiting() {
    return queue.size();
  }

  /** Whether an item would be passed on at once. */
  boolean isIdle() {
    return queue.isEmpty() && requested.get() > 0;
  }

  /** Passes on what is wanted. {@return whether that was anything} */
  boolean emit() {
    CoreSubscriber<? super OutgoingItem> subscriber = actual;
    boolean moved = false;
    while (subscriber != null && requested.get() > 0 && !queue.isEmpty()) {
      if (requested.get() != Long.MAX_VALUE) {
        requested.decrementAndGet();
      }
      subscriber.onNext(queue.remove());
      moved = true;
    }
    return moved;
  }

  void completeIfEmpty() {
    CoreSubscriber<? super OutgoingItem> subscriber = actual;
    if (subscriber != null && queue.isEmpty() && !ended) {
      ended = true;
      complete = true;
      subscriber.onComplete();
    }
  }

  void fail(Throwable e) {
    CoreSubscriber<? super OutgoingItem> subscriber = actual;
    if (subscriber != null && !ended) {
      ended = true;
      subscriber.onError(e);
    }
  }

  void clear() {
    queue.forEach(OutgoingItem::release);
    queue.clear();
  }
}
