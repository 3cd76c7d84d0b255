package io.pageflux.migration;

import io.pageflux.MigrationException;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** What both sides of a migration share of being a flux of events. */
final class MigrationRun {

  private MigrationRun() {}

  /** What a migration consists of, given where its events go and what stops it. */
  @FunctionalInterface
  interface Session {
    Mono<MigrationInfo> run(EventSink events, Mono<Void> stop);
  }

  /**
   * A cold flux of the events that a session emits until it ends with its result.
   *
   * <p>Cancelling the flux stops the session, and nothing else: a session is never cancelled
   * itself. There is an order in which it must end (guest, peer, threads and memory), and cleaning
   * up by cancellation has none.
   *
   * @param stop subscribed to once for each session, and cancelled at its end
   */
  static Flux<MigrationEvent> events(Mono<?> stop, Session session) {
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
              .run(new EventSink(sink), stopped.asMono())
              .subscribe(
                  info -> {
                    sink.next(new MigrationEvent.Completed(info));
                    sink.complete();
                  },
                  e -> {
                    if (!sink.isCancelled()) { // else nobody is there to hear it
                      sink.error(e);
                    }
                  });
        });
  }

  static Mono<MigrationInfo> result(Flux<MigrationEvent> events) {
    return events
        .ofType(MigrationEvent.Completed.class)
        .map(MigrationEvent.Completed::info)
        .single();
  }

  /** What a session fails with that somebody has stopped. */
  static MigrationException cancelled() {
    return MigrationException.of(MigrationException.Kind.CANCELLED, "the migration was cancelled");
  }

  /** Where a session puts its events; progress is left out while nobody asks for it. */
  static final class EventSink {

    private final FluxSink<MigrationEvent> sink;

    EventSink(FluxSink<MigrationEvent> sink) {
      this.sink = sink;
    }

    void emit(MigrationEvent event) {
      if (!(event instanceof MigrationEvent.Progress) || sink.requestedFromDownstream() > 0) {
        sink.next(event);
      }
    }
  }
}
