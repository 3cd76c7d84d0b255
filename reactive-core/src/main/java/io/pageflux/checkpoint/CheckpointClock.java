package io.pageflux.checkpoint;

import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * When the next checkpoint is due: the first one at once, each further one an interval after the
 * one before was due, or when somebody asks for it. One that could not be taken in time, because
 * the one before was not acknowledged, is taken as soon as it can be; none is made up for.
 */
final class CheckpointClock {

  private final @Nullable Duration interval;
  private final Scheduler timer;
  // The first one.
  private final AtomicBoolean requested = new AtomicBoolean(true);
  private volatile Sinks.Empty<Void> waiting = Sinks.empty();
  private long lastNanos;

  /**
   * @param interval null for checkpoints on demand only
   */
  CheckpointClock(@Nullable Duration interval, Scheduler timer) {
    this.interval = interval;
    this.timer = timer;
  }

  /** From any thread. */
  void request() {
    // In this order, and waited for in the other one: nothing gets lost in between.
    requested.set(true);
    waiting.tryEmitEmpty();
  }

  /** {@return completes when the next one is due} For one subscriber at a time. */
  Mono<Void> next() {
    return Mono.defer(
            () -> {
              Sinks.Empty<Void> wake = Sinks.empty();
              waiting = wake;
              if (requested.get()) {
                return Mono.empty();
              }
              Duration every = interval;
              if (every == null) {
                return wake.asMono();
              }
              long rest = lastNanos + every.toNanos() - timer.now(TimeUnit.NANOSECONDS);
              return rest <= 0
                  ? Mono.<Void>empty()
                  : Mono.firstWithSignal(
                      wake.asMono(), Mono.delay(Duration.ofNanos(rest), timer).then());
            })
        .doOnSuccess(
            due -> {
              // What is asked for from here on is not answered by the checkpoint that begins now.
              requested.set(false);
              lastNanos = timer.now(TimeUnit.NANOSECONDS);
            });
  }
}
