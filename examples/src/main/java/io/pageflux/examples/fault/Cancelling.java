package io.pageflux.examples.fault;

import io.pageflux.examples.cli.Failures;
import io.pageflux.transport.Connection;
import java.time.Duration;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** Runs a migration, or checkpoints, to the end, or has somebody turn away from it. */
final class Cancelling {

  static final String CANCELLED = "cancelled";

  private Cancelling() {}

  /**
   * @param after when somebody cancels; null if nobody does
   * @param cancelling called when somebody does
   * @param made the connection, once there is one
   */
  static Ending of(
      Flux<?> events,
      @Nullable Duration after,
      Runnable cancelling,
      Supplier<@Nullable Connection> made) {
    Sinks.One<Ending> ended = Sinks.one();
    Disposable running =
        events.subscribe(
            event -> {},
            e -> ended.tryEmitValue(Ending.failed(Failures.describe(e), false)),
            () -> ended.tryEmitValue(Ending.completed(false)));
    if (after != null) {
      Mono.delay(after)
          .doOnNext(
              tick -> {
                if (!running.isDisposed()) {
                  cancelling.run();
                }
                running.dispose();
              })
          // The guest is seen to before the connection is closed.
          .then(Mono.defer(() -> closed(made.get())))
          .subscribe(
              v -> {},
              e -> ended.tryEmitValue(Ending.hangs("cancelled, and still connected")),
              () -> ended.tryEmitValue(Ending.failed(CANCELLED, false)));
    }
    try {
      Ending ending = ended.asMono().block(Side.LIMIT);
      return ending == null ? Ending.hangs("no end") : ending;
    } catch (IllegalStateException e) {
      running.dispose();
      return Ending.hangs("no end within " + Side.LIMIT.toSeconds() + " s");
    }
  }

  private static Mono<Void> closed(@Nullable Connection connection) {
    return connection == null ? Mono.empty() : connection.onDispose().timeout(Side.LIMIT);
  }
}
