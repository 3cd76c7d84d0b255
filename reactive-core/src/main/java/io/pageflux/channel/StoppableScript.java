package io.pageflux.channel;

import io.pageflux.wire.WireRecord;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxOperator;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Operators;
import reactor.util.context.Context;

/**
 * What is said until it is stopped: {@code takeUntilOther} that loses nothing. Reactor's own (3.8)
 * drops an element that meets the stop without discarding it, and its batch would never be
 * released.
 *
 * <p><b>Demand:</b> passed on.
 *
 * <p><b>Ordering and threading:</b> the stop completes the flux, on the thread that stops, or on
 * the emitting one if an element is on its way through just then.
 *
 * <p><b>Discard and cancel:</b> the stop cancels the source; a batch that comes after that is
 * released.
 */
final class StoppableScript extends FluxOperator<WireRecord, WireRecord> {

  private final Mono<Void> stop;

  StoppableScript(Flux<WireRecord> source, Mono<Void> stop) {
    super(source);
    this.stop = stop;
  }

  @Override
  public void subscribe(CoreSubscriber<? super WireRecord> actual) {
    source.subscribe(new Gate(actual, stop));
  }

  private static final class Gate implements CoreSubscriber<WireRecord>, Subscription {

    /** Added to the elements on their way through when the gate closes. */
    private static final int CLOSED = 1 << 30;

    private final CoreSubscriber<? super WireRecord> actual;
    private final Mono<Void> stop;
    private final Disposable.Swap stopping = Disposables.swap();
    private final AtomicInteger passing = new AtomicInteger(1); // the subscription, first
    private final AtomicBoolean ended = new AtomicBoolean();
    private Subscription source = Operators.emptySubscription();

    Gate(CoreSubscriber<? super WireRecord> actual, Mono<Void> stop) {
      this.actual = actual;
      this.stop = stop;
    }

    @Override
    public Context currentContext() {
      return actual.currentContext();
    }

    @Override
    public void onSubscribe(Subscription subscription) {
      source = subscription;
      stopping.update(stop.subscribe(nothing -> {}, e -> close(), this::close));
      actual.onSubscribe(this);
      leave();
    }

    private void close() {
      if (passing.get() < CLOSED) {
        source.cancel();
        if (passing.getAndAdd(CLOSED) == 0) {
          complete();
        }
      }
    }

    @Override
    public void onNext(WireRecord record) {
      if (passing.getAndIncrement() >= CLOSED) {
        passing.decrementAndGet();
        RecordDecompressor.release(record);
        return;
      }
      actual.onNext(record);
      leave();
    }

    private void leave() {
      if (passing.decrementAndGet() == CLOSED) {
        complete();
      }
    }

    private void complete() {
      if (ended.compareAndSet(false, true)) {
        actual.onComplete();
      }
    }

    @Override
    public void onComplete() {
      stopping.dispose();
      complete();
    }

    @Override
    public void onError(Throwable e) {
      stopping.dispose();
      if (ended.compareAndSet(false, true)) {
        actual.onError(e);
      } else {
        Operators.onErrorDropped(e, currentContext());
      }
    }

    @Override
    public void request(long n) {
      source.request(n);
    }

    @Override
    public void cancel() {
      stopping.dispose();
      source.cancel();
    }
  }
}
