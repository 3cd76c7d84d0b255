package io.pageflux.transport.fault;

import io.pageflux.transport.TransportBuffer;
import java.util.concurrent.atomic.AtomicBoolean;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Operators;
import reactor.core.publisher.Sinks;

/**
 * A flux of one buffer, which is either delivered or released: {@code Flux.just} loses an element
 * that was not asked for yet when it is cancelled inside of a {@code concatMap} (Reactor 3.8).
 */
final class HeldBuffer extends Flux<TransportBuffer> {

  private final TransportBuffer buffer;
  private final AtomicBoolean gone = new AtomicBoolean();
  private final Sinks.Empty<Void> closed = Sinks.empty();

  HeldBuffer(TransportBuffer buffer) {
    this.buffer = buffer;
  }

  /** Releases the buffer, unless it was delivered. */
  void drop() {
    if (gone.compareAndSet(false, true)) {
      buffer.release();
    }
  }

  /** Releases the buffer, unless it was delivered, and ends the flux of it. */
  void close() {
    if (gone.compareAndSet(false, true)) {
      buffer.release();
      closed.tryEmitEmpty();
    }
  }

  @Override
  public void subscribe(CoreSubscriber<? super TransportBuffer> actual) {
    AtomicBoolean ended = new AtomicBoolean();
    Disposable.Swap watch = Disposables.swap();
    actual.onSubscribe(
        new Subscription() {
          @Override
          public void request(long n) {
            if (Operators.validate(n) && gone.compareAndSet(false, true)) {
              ended.set(true);
              watch.dispose();
              actual.onNext(buffer);
              actual.onComplete();
            }
          }

          @Override
          public void cancel() {
            ended.set(true);
            watch.dispose();
            drop();
          }
        });
    if (!ended.get()) {
      watch.update(
          closed
              .asMono()
              .subscribe(
                  nothing -> {},
                  e -> {},
                  () -> {
                    if (ended.compareAndSet(false, true)) {
                      actual.onComplete();
                    }
                  }));
    }
  }
}
