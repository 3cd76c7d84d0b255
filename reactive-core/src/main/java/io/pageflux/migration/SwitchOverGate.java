package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import java.time.Duration;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/** Where a migration that is to pause before its switch-over waits to be continued. */
final class SwitchOverGate {

  private final Sinks.Empty<Void> opened = Sinks.empty();
  private volatile boolean waiting;

  /**
   * Waits. Who is told by {@code told} may open the gate at once.
   *
   * @param patience how long at the most
   */
  Mono<Void> pass(Duration patience, Scheduler timer, Runnable told) {
    return Mono.defer(
        () -> {
          waiting = true;
          told.run();
          return opened
              .asMono()
              .timeout(
                  patience,
                  Mono.error(
                      () ->
                          MigrationException.of(
                              Kind.TIMEOUT,
                              "nobody continued the migration, which was paused before the"
                                  + " switch-over, within "
                                  + MigrationText.of(patience))),
                  timer)
              .doFinally(signal -> waiting = false);
        });
  }

  /** {@return whether somebody was waiting, and goes on} */
  boolean open() {
    return waiting && opened.tryEmitEmpty().isSuccess();
  }
}
