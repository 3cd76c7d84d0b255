package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import io.pageflux.migration.Guest;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * The guest at its source: paused for each checkpoint, and running when the session has ended,
 * whatever it was in the middle of.
 *
 * <p>The session may end on any thread at any moment. So:
 *
 * <ul>
 *   <li>After {@link #release()} has begun, no pause begins any more.
 *   <li>A pause or resumption that has begun is waited for, and is not cancelled with the
 *       connection for whose sake it was begun: a guest whose pause was interrupted may be
 *       anything.
 *   <li>{@link #isPaused()} is false before the guest may go on. Who reads its memory, or its
 *       state, and finds it still paused afterwards, has read what belongs together.
 * </ul>
 */
final class CheckpointGuest {

  private enum State {
    RUNNING,
    PAUSED,
    RELEASED
  }

  private final Guest guest;
  private final Scheduler thread;
  private final Scheduler timer;
  private final Duration patience;
  private final AtomicReference<State> state = new AtomicReference<>(State.RUNNING);

  /** What was begun last. */
  private record Act(Mono<Void> end, @Nullable Disposable begun) {}

  private volatile Act last = new Act(Mono.empty(), null);

  /**
   * Makes one of a guest that runs.
   *
   * @param thread where the guest is paused and resumed; may be blocked
   * @param patience how long it may take to do either
   */
  CheckpointGuest(Guest guest, Scheduler thread, Scheduler timer, Duration patience) {
    this.guest = guest;
    this.thread = thread;
    this.timer = timer;
    this.patience = patience;
  }

  /** Pauses the guest. Not more than one call at a time, and none but {@link #resume} after it. */
  Mono<Void> pause() {
    return Mono.defer(
        () -> {
          Sinks.Empty<Void> paused = Sinks.empty();
          Act before = last;
          // Before the state is changed: who finds it paused has to find what to wait for.
          last = new Act(paused.asMono(), null);
          if (!state.compareAndSet(State.RUNNING, State.PAUSED)) {
            last = before;
            return Mono.error(CheckpointRun.stopped());
          }
          return begin(paused, guest::pause, "pause");
        });
  }

  /** Lets the guest go on. */
  Mono<Void> resume() {
    return Mono.defer(
        () ->
            begin(Sinks.empty(), guest::resume, "go on")
                .then(Mono.fromRunnable(() -> state.compareAndSet(State.PAUSED, State.RUNNING))));
  }

  private Mono<Void> begin(Sinks.Empty<Void> end, Supplier<Mono<Void>> act, String what) {
    Disposable begun =
        Mono.defer(act)
            .subscribeOn(thread)
            .subscribe(nothing -> {}, end::tryEmitError, end::tryEmitEmpty);
    last = new Act(end.asMono(), begun);
    return end.asMono()
        .onErrorMap(e -> CheckpointRun.guestFailure(what, e))
        .timeout(patience, Mono.error(() -> tooSlow(what)), timer);
  }

  private MigrationException tooSlow(String what) {
    return MigrationException.of(
        Kind.GUEST,
        "the guest took more than %s to %s".formatted(MigrationText.of(patience), what));
  }

  /** {@return whether it was paused, and nothing has been begun that may let it go on} */
  boolean isPaused() {
    return state.get() == State.PAUSED;
  }

  /**
   * Has the guest run, for good. To be called once.
   *
   * @return fails if the guest cannot go on
   */
  Mono<Void> release() {
    return Mono.defer(
        () -> {
          if (state.getAndSet(State.RELEASED) != State.PAUSED) {
            return Mono.empty();
          }
          Act begun = last;
          return begun
              .end()
              .onErrorComplete()
              .timeout(patience, Mono.fromRunnable(this::giveUp), timer)
              .then(Mono.defer(() -> begin(Sinks.empty(), guest::resume, "go on")));
        });
  }

  private void giveUp() {
    Disposable begun = last.begun();
    if (begun != null) {
      begun.dispose();
    }
  }
}
