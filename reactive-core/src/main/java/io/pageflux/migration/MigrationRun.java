package io.pageflux.migration;

import io.pageflux.MigrationException;
import java.util.function.Function;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;
import reactor.core.publisher.Mono;

/** What both sides of a migration share of being a flux of events. */
final class MigrationRun {

  private MigrationRun() {}

  /** A cold flux of the events that a session emits until it ends with its result. */
  static Flux<MigrationEvent> events(Function<EventSink, Mono<MigrationInfo>> session) {
    return Flux.create(
        sink -> {
          Mono<MigrationInfo> run = session.apply(new EventSink(sink));
          Disposable running =
              run.subscribe(
                  info -> {
                    sink.next(new MigrationEvent.Completed(info));
                    sink.complete();
                  },
                  sink::error);
          sink.onDispose(running);
        });
  }

  static Mono<MigrationInfo> result(Flux<MigrationEvent> events) {
    return events
        .ofType(MigrationEvent.Completed.class)
        .map(MigrationEvent.Completed::info)
        .single();
  }

  /** Any failure as a migration's failure: whatever else is thrown is a fault of a part of it. */
  static MigrationException asMigrationException(Throwable e) {
    return e instanceof MigrationException known
        ? known
        : MigrationException.of(
            MigrationException.Kind.INTERNAL,
            e.getMessage() == null ? e.toString() : e.getMessage(),
            e);
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
