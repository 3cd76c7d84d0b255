package io.pageflux.checkpoint;

import io.pageflux.memory.GuestMemory;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * Which checkpoint the destination holds. The one decision that two threads may race for: a
 * checkpoint that has just arrived is either held, and then will be in memory whatever happens, or
 * the session ended before and it never was.
 */
final class HoldingPlace {

  private final GuestMemory memory;
  private final EpochStaging staging;
  private final Scheduler thread;

  // Guarded by this.
  private @Nullable HeldCheckpoint held;
  private Mono<Void> applying = Mono.empty();
  private boolean closed;

  /**
   * @param thread where checkpoints are put into memory
   */
  HoldingPlace(GuestMemory memory, EpochStaging staging, Scheduler thread) {
    this.memory = memory;
    this.staging = staging;
    this.thread = thread;
  }

  /**
   * Holds the checkpoint whose pages are staged, and begins to put it into memory. That ends with
   * neither the connection nor any subscription.
   *
   * @param onHeld learns how long that took, when it is in memory, and before {@link #close} ends
   * @return completes after that; null if the session has ended
   */
  @Nullable Mono<Void> hold(long number, List<byte[]> deviceState, Consumer<Duration> onHeld) {
    Sinks.Empty<Void> done = Sinks.empty();
    synchronized (this) {
      if (closed) {
        return null;
      }
      held = new HeldCheckpoint(number, deviceState);
      applying = done.asMono();
    }
    Mono.fromCallable(this::apply)
        .doOnNext(onHeld)
        .subscribeOn(thread)
        .subscribe(took -> {}, done::tryEmitError, done::tryEmitEmpty);
    return done.asMono();
  }

  private Duration apply() {
    long began = thread.now(TimeUnit.NANOSECONDS);
    staging.apply(memory);
    staging.clear();
    return Duration.ofNanos(thread.now(TimeUnit.NANOSECONDS) - began);
  }

  /** {@return the number of the checkpoint that is held; 0 if there is none} */
  synchronized long number() {
    HeldCheckpoint now = held;
    return now == null ? 0 : now.number();
  }

  /** Holds nothing more. {@return completes when what is held is in memory} */
  Mono<Void> close() {
    return Mono.defer(
        () -> {
          synchronized (this) {
            closed = true;
            return applying;
          }
        });
  }

  /** {@return what is held, after the end} */
  synchronized @Nullable HeldCheckpoint held() {
    return held;
  }
}
