package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * The guest at its source: paused for the last round, and let go on if that fails.
 *
 * <p>The failure may come from any thread at any moment, also while the guest is being paused. So:
 *
 * <ul>
 *   <li>A pause that has not begun when the guest is let go does not begin any more.
 *   <li>One that has begun is waited for: were the guest resumed meanwhile, it would be paused in
 *       the end.
 *   <li>It does not end with the connection, as all else does that was subscribed to for the sake
 *       of the connection. A guest whose pause was interrupted may be anything.
 * </ul>
 */
final class SourceGuest {

  private final Guest guest;
  private final HandOver handOver;
  private final Scheduler thread;
  private final Scheduler timer;
  private final Duration patience;
  private final Sinks.Empty<Void> paused = Sinks.empty();
  private volatile @Nullable Disposable pausing;

  /**
   * Makes one of a guest that runs.
   *
   * @param handOver says whether it may be paused
   * @param thread where the guest is paused and resumed; may be blocked
   * @param patience how long a pause is waited for when the guest is let go; it is cancelled then
   */
  SourceGuest(
      Guest guest, HandOver handOver, Scheduler thread, Scheduler timer, Duration patience) {
    this.guest = guest;
    this.handOver = handOver;
    this.thread = thread;
    this.timer = timer;
    this.patience = patience;
  }

  /** Pauses the guest. Fails if it was let go; cancelling does not cancel the pause. */
  Mono<Void> pause() {
    return Mono.defer(
        () -> {
          if (handOver.take(HandOver.Event.SWITCH_OVER) != HandOver.Action.PAUSE_GUEST) {
            return Mono.error(
                MigrationException.of(Kind.CANCELLED, "the guest is not to be paused any more"));
          }
          pausing =
              Mono.defer(guest::pause)
                  .subscribeOn(thread)
                  .subscribe(nothing -> {}, paused::tryEmitError, this::hasPaused);
          return paused.asMono().onErrorMap(e -> failure("pause", e));
        });
  }

  private void hasPaused() {
    handOver.take(HandOver.Event.PAUSED);
    paused.tryEmitEmpty();
  }

  /** Lets the guest go on that was paused, or is being. To be called when the hand-over says so. */
  Mono<Void> letGoOn() {
    return paused
        .asMono()
        .onErrorComplete()
        .timeout(patience, Mono.fromRunnable(this::giveUpPausing), timer)
        .then(Mono.defer(guest::resume).subscribeOn(thread))
        .onErrorMap(e -> failure("go on", e));
  }

  private void giveUpPausing() {
    Disposable begun = pausing;
    if (begun != null) {
      begun.dispose();
    }
  }

  /** What a guest's failure is to a migration. */
  static MigrationException failure(String what, Throwable e) {
    return e instanceof MigrationException known
        ? known
        : MigrationException.of(
            Kind.GUEST, "the guest could not %s: %s".formatted(what, MigrationText.of(e)), e);
  }
}
