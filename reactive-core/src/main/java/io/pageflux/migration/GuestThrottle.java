package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import java.time.Duration;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.context.Context;

/**
 * The throttle of a guest at its source: set while rounds are sent, and lifted in the end.
 *
 * <p>Nobody waits while it is set. Calls to the guest follow one another; if another percentage is
 * wanted meanwhile, the last one is taken. A guest that refuses, or takes too long, is not asked
 * again, and nothing else comes of it. But it may have done something: so whatever became of the
 * calls, if there was one there is another at the end that lifts the throttle, after the one that
 * is under way has ended or has had its time.
 *
 * <p>The guest may block: it is called on threads that may.
 */
final class GuestThrottle {

  /** Who learns of the throttle, on various threads, never while this object's monitor is held. */
  interface Listener {
    /** The guest has taken a percentage. */
    void taken(int percent);

    /** It has refused one. */
    void refused(int percent, String reason);
  }

  /** Reactor's key for what is done with errors that come after a cancellation. */
  private static final Context IGNORING_LATE_ERRORS =
      Context.of("reactor.onErrorDropped.local", (Consumer<Throwable>) late -> {});

  private final Guest guest;
  private final Scheduler timer;
  private final Duration patience;
  private final Listener listener;

  private int wanted;
  private int taken;
  private boolean refused;
  private boolean touched;
  private boolean over;
  private Sinks.@Nullable Empty<Void> calling;

  /**
   * @param patience how long one call may take; it is cancelled then
   */
  GuestThrottle(Guest guest, Scheduler timer, Duration patience, Listener listener) {
    this.guest = guest;
    this.timer = timer;
    this.patience = patience;
    this.listener = listener;
  }

  /** {@return what the guest is throttled to, or about to be} */
  synchronized int percent() {
    return wanted;
  }

  /** {@return whether it makes sense to throttle the guest} */
  boolean possible() {
    synchronized (this) {
      if (refused || over) {
        return false;
      }
    }
    try {
      return guest.canThrottle();
    } catch (RuntimeException e) {
      return false;
    }
  }

  /** Has the guest throttled, soon. */
  void set(int percent) {
    synchronized (this) {
      if (refused || over) {
        return;
      }
      wanted = percent;
    }
    callIfNeeded();
  }

  /** From here on nothing is set any more, until the throttle is lifted. */
  synchronized void hold() {
    over = true;
  }

  private void callIfNeeded() {
    int percent;
    Sinks.Empty<Void> ended = Sinks.empty();
    synchronized (this) {
      if (calling != null || over || refused || wanted == taken) {
        return;
      }
      touched = true;
      calling = ended;
      percent = wanted;
    }
    call(percent)
        .subscribe(nothing -> {}, e -> notTaken(percent, e, ended), () -> isTaken(percent, ended));
  }

  private Mono<Void> call(int percent) {
    return Mono.defer(() -> guest.throttle(percent))
        .subscribeOn(Schedulers.boundedElastic())
        // A guest that is interrupted because it takes too long may well say so.
        .contextWrite(IGNORING_LATE_ERRORS)
        .timeout(patience, timer)
        .onErrorMap(
            TimeoutException.class,
            e ->
                MigrationException.of(
                    Kind.TIMEOUT, "it took longer than " + MigrationText.of(patience)));
  }

  private void isTaken(int percent, Sinks.Empty<Void> ended) {
    synchronized (this) {
      taken = percent;
      calling = null;
    }
    listener.taken(percent);
    ended.tryEmitEmpty();
    callIfNeeded();
  }

  private void notTaken(int percent, Throwable e, Sinks.Empty<Void> ended) {
    synchronized (this) {
      refused = true;
      wanted = taken;
      calling = null;
    }
    listener.refused(percent, MigrationText.of(e));
    ended.tryEmitEmpty();
  }

  /**
   * Lifts the throttle, if the guest was ever asked for one. To be called at the end; what is
   * called after the first time does nothing.
   *
   * @return whether there was something to lift; in error if the guest did not let itself be
   */
  Mono<Boolean> lift() {
    return Mono.defer(
        () -> {
          Sinks.Empty<Void> underWay;
          synchronized (this) {
            over = true;
            if (!touched) {
              return Mono.just(false);
            }
            touched = false;
            wanted = 0;
            underWay = calling;
          }
          // It ends: it has a time limit.
          return (underWay == null ? Mono.<Void>empty() : underWay.asMono())
              .then(Mono.defer(() -> call(0)))
              .doOnSuccess(nothing -> listener.taken(0))
              .onErrorMap(e -> SourceGuest.failure("be let off its throttle", e))
              .thenReturn(true);
        });
  }
}
