package io.pageflux.operator;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.function.ToLongFunction;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * A limit of bytes per second that acts by demand: when the stream is ahead of the limit, the next
 * element is not requested until it is its turn. No thread waits, and nothing is queued.
 *
 * <p>An element is passed on at once and paid for afterwards: the element of {@code n} bytes keeps
 * the next one back for {@code n / rate} seconds. Debts below {@value #PATIENCE_MILLIS} ms are let
 * run up, because timers are coarser than the time that one batch takes on a fast link; credit for
 * time in which nothing came is kept for as long, so that a stream that pauses now and then still
 * reaches the limit.
 *
 * <p><b>Demand:</b> one element at a time.
 *
 * <p><b>Memory bound:</b> none of its own; it holds no element.
 *
 * <p><b>Ordering and threading:</b> the source's, but for elements that were kept back: those are
 * requested on the given scheduler.
 *
 * <p><b>Discard and cancel, errors:</b> the source's; cancelling stops the timer.
 */
public final class BandwidthLimit {

  /** Debts and credits below this many milliseconds are not acted on. */
  private static final long PATIENCE_MILLIS = 5;

  private static final long PATIENCE_NANOS = TimeUnit.MILLISECONDS.toNanos(PATIENCE_MILLIS);

  private BandwidthLimit() {}

  /**
   * {@return the operator}
   *
   * @param bytes the size of an element
   * @param bytesPerSecond the limit, asked for with each element, so that it may change; 0 for none
   * @param clock what tells the time and requests late elements
   */
  public static <T> Function<Flux<T>, Flux<T>> of(
      ToLongFunction<? super T> bytes, LongSupplier bytesPerSecond, Scheduler clock) {
    return source ->
        Flux.defer(
            () -> {
              Account account = new Account(clock);
              return source.concatMap(
                  element -> {
                    // Before it is passed on: its owner may release it.
                    long size = bytes.applyAsLong(element);
                    long waitNanos = account.charge(size, bytesPerSecond.getAsLong());
                    return waitNanos == 0
                        ? Mono.just(element)
                        : Mono.just(element)
                            .concatWith(
                                Mono.delay(Duration.ofNanos(waitNanos), clock).then(Mono.empty()));
                  },
                  0);
            });
  }

  /** What the stream owes. Used by one subscriber, serially. */
  private static final class Account {

    private final Scheduler clock;
    private long dueNanos;

    Account(Scheduler clock) {
      this.clock = clock;
      this.dueNanos = clock.now(TimeUnit.NANOSECONDS);
    }

    /** {@return how long the next element is to wait} */
    long charge(long bytes, long bytesPerSecond) {
      if (bytesPerSecond <= 0) {
        return 0;
      }
      long now = clock.now(TimeUnit.NANOSECONDS);
      dueNanos = Math.max(dueNanos, now - PATIENCE_NANOS) + (long) (bytes * 1e9 / bytesPerSecond);
      long debt = dueNanos - now;
      return debt > PATIENCE_NANOS ? debt : 0;
    }
  }
}
