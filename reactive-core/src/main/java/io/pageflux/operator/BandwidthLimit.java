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
    return of(bytes, bytesPerSecond, clock, Flux.never());
  }

  /**
   * {@return the operator, which acts on a change of the limit while an element is kept back: what
   * it still owes, it owes at the new rate}
   *
   * @param bytes the size of an element
   * @param bytesPerSecond the limit; 0 for none
   * @param clock what tells the time and requests late elements
   * @param changes emits after each change of the limit; hot, and subscribed to while an element is
   *     kept back
   */
  public static <T> Function<Flux<T>, Flux<T>> of(
      ToLongFunction<? super T> bytes,
      LongSupplier bytesPerSecond,
      Scheduler clock,
      Flux<?> changes) {
    return source ->
        Flux.defer(
            () -> {
              Account account = new Account(clock, bytesPerSecond, changes);
              return source.concatMap(
                  element -> {
                    // Before it is passed on: its owner may release it.
                    long size = bytes.applyAsLong(element);
                    // Hidden, it is discarded by whoever cancels just now: a value that concatMap()
                    // sees through is lost then, with what it holds.
                    return account.charge(size) == 0
                        ? Mono.just(element).hide()
                        : Mono.just(element).concatWith(account.paid().then(Mono.empty()));
                  },
                  0);
            });
  }

  /** What the stream owes. Used by one subscriber, serially. */
  private static final class Account {

    private final Scheduler clock;
    private final LongSupplier limit;
    private final Flux<?> changes;
    private long bytesPerSecond;
    private long dueNanos;

    Account(Scheduler clock, LongSupplier limit, Flux<?> changes) {
      this.clock = clock;
      this.limit = limit;
      this.changes = changes;
      this.dueNanos = now();
    }

    private long now() {
      return clock.now(TimeUnit.NANOSECONDS);
    }

    /** {@return how long the next element is to wait} */
    long charge(long bytes) {
      bytesPerSecond = limit.getAsLong();
      if (bytesPerSecond <= 0) {
        return 0;
      }
      dueNanos = Math.max(dueNanos, now() - PATIENCE_NANOS) + (long) (bytes * 1e9 / bytesPerSecond);
      return debtNanos();
    }

    private long debtNanos() {
      long debt = dueNanos - now();
      return debt > PATIENCE_NANOS ? debt : 0;
    }

    /** Completes when the debt is paid, on the clock's thread if that is not now. */
    Mono<Void> paid() {
      return Mono.defer(
          () -> {
            convert();
            long debt = debtNanos();
            return debt == 0
                ? Mono.empty()
                : Mono.firstWithSignal(
                        changes.next().map(change -> true),
                        // Subscribed to after the changes, so that none is missed in between.
                        Mono.defer(
                            () ->
                                limit.getAsLong() == bytesPerSecond
                                    ? Mono.delay(Duration.ofNanos(debt), clock).map(t -> true)
                                    : Mono.just(true)))
                    .publishOn(clock)
                    .then(Mono.defer(this::paid));
          });
    }

    /** Has what is owed at another rate owed at the one that holds now. */
    private void convert() {
      long rate = limit.getAsLong();
      if (rate == bytesPerSecond) {
        return;
      }
      long now = now();
      dueNanos =
          rate <= 0 ? now : now + (long) ((dueNanos - now) * ((double) bytesPerSecond / rate));
      bytesPerSecond = rate;
    }
  }
}
