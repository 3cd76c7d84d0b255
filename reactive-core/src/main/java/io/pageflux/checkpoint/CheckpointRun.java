package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import java.util.function.BiFunction;
import java.util.function.Consumer;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** What both sides share of being a flux of events. */
final class CheckpointRun {

  private CheckpointRun() {}

  /**
   * A cold flux of the events that a session emits until it ends. Cancelling the flux stops the
   * session, and nothing else: there is an order in which a session must end (guest, peer, threads
   * and memory), and a cancellation has none.
   */
  static Flux<CheckpointEvent> events(
      Mono<?> stop, BiFunction<Consumer<CheckpointEvent>, Mono<Void>, Mono<Void>> session) {
    return Flux.create(
        sink -> {
          Sinks.Empty<Void> stopped = Sinks.empty();
          Disposable watch =
              stop.subscribe(nothing -> {}, stopped::tryEmitError, stopped::tryEmitEmpty);
          sink.onDispose(
              () -> {
                watch.dispose();
                stopped.tryEmitEmpty();
              });
          session
              .apply(sink::next, stopped.asMono())
              .subscribe(
                  nothing -> {},
                  e -> {
                    if (!sink.isCancelled()) { // else nobody is there to hear it
                      sink.error(e);
                    }
                  },
                  sink::complete);
        });
  }

  static MigrationException stopped() {
    return MigrationException.of(Kind.CANCELLED, "the checkpoints were stopped");
  }

  static boolean isStop(Throwable e) {
    return e instanceof MigrationException known
        && known.kind() == Kind.CANCELLED
        && !known.isFromPeer();
  }

  /** What a guest's failure is to a session. */
  static MigrationException guestFailure(String what, Throwable e) {
    return e instanceof MigrationException known
        ? known
        : MigrationException.of(
            Kind.GUEST, "the guest could not %s: %s".formatted(what, MigrationText.of(e)), e);
  }
}
