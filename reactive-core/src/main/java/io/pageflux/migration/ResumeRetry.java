package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.channel.MigrationText;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.function.Predicate;
import org.reactivestreams.Publisher;
import reactor.core.Exceptions;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.util.context.Context;
import reactor.util.context.ContextView;
import reactor.util.retry.Retry;

/**
 * Has a migration go on with another connection, as somebody else's {@link Retry} says: if its
 * failure can be mended so, and until it is stopped.
 *
 * <p>Attempts count from the last time that the destination has acknowledged pages: a migration
 * that is interrupted ten times has as many attempts each time, but one whose line breaks whenever
 * both sides have greeted one another gets no further, and ends.
 */
final class ResumeRetry extends Retry {

  private final Retry spec;
  private final Predicate<Throwable> resumable;
  private final LongSupplier acknowledged;
  private final Consumer<Throwable> lost;
  private final Mono<Void> stop;

  /**
   * @param spec says when to try again, and how often
   * @param resumable whether a failure is one of a connection, which another one may mend
   * @param acknowledged how many pages the destination has acknowledged
   * @param lost is told of each failure that may be mended
   * @param stop ends the waiting for the next attempt, with a cancellation
   */
  ResumeRetry(
      Retry spec,
      Predicate<Throwable> resumable,
      LongSupplier acknowledged,
      Consumer<Throwable> lost,
      Mono<Void> stop) {
    this.spec = spec;
    this.resumable = resumable;
    this.acknowledged = acknowledged;
    this.lost = lost;
    this.stop = stop;
  }

  private record Signal(long totalRetries, Throwable failure) implements RetrySignal {
    @Override
    public long totalRetriesInARow() {
      return totalRetries;
    }

    @Override
    public ContextView retryContextView() {
      return Context.empty();
    }

    @Override
    public RetrySignal copy() {
      return this;
    }
  }

  @Override
  public Publisher<?> generateCompanion(Flux<RetrySignal> signals) {
    AtomicBoolean waiting = new AtomicBoolean();
    Flux<RetrySignal> mendable =
        signals.map(
            new java.util.function.Function<RetrySignal, RetrySignal>() {
              private long acknowledgedBefore;
              private long attempts = -1;

              @Override
              public RetrySignal apply(RetrySignal signal) {
                Throwable failure = signal.failure();
                if (!resumable.test(failure)) {
                  throw Exceptions.propagate(failure);
                }
                long now = acknowledged.getAsLong();
                attempts = now == acknowledgedBefore ? attempts + 1 : 0;
                acknowledgedBefore = now;
                waiting.set(true);
                lost.accept(failure);
                return new Signal(attempts, failure);
              }
            });
    Mono<Object> stopped =
        stop.then(
            Mono.defer(
                () ->
                    waiting.get()
                        ? Mono.error(MigrationRun.cancelled())
                        : Mono.never())); // The conversation hears of it itself.
    return Flux.merge(
            Flux.from(spec.generateCompanion(mendable)).doOnNext(again -> waiting.set(false)),
            stopped)
        .onErrorMap(Exceptions::isRetryExhausted, ResumeRetry::exhausted);
  }

  private static Throwable exhausted(Throwable e) {
    MigrationException last = MigrationException.ofAny(e.getCause() == null ? e : e.getCause());
    return MigrationException.of(
        last.kind(),
        "the connection was lost, and could not be made again: " + MigrationText.of(last),
        last);
  }
}
