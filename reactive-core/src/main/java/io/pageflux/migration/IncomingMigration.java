package io.pageflux.migration;

import java.util.Objects;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * The destination's side of a live migration: waits for a source, takes its pages, and starts the
 * guest when the source has given it up.
 *
 * <p>Cold and re-subscribable: each subscription waits for a connection of its own.
 *
 * <p><b>Threading:</b> pages are written to memory on a thread of the transport, or on one of the
 * migration's own where they are decompressed; events come from various threads, one at a time.
 *
 * <p><b>Memory bound:</b> {@code 2 * workers + 2} slabs of the source's batch geometry, which is
 * refused if above {@link IncomingSpec#maxGeometry()}, and about 1 MiB of direct memory for each
 * worker.
 *
 * <p><b>Errors:</b> a {@link io.pageflux.MigrationException}. When it arrives the guest has not
 * been started, and memory holds what was applied so far, which is of no use.
 */
public final class IncomingMigration {

  private final IncomingSpec spec;

  private IncomingMigration(IncomingSpec spec) {
    this.spec = spec;
  }

  /** {@return a migration by a spec} Nothing happens yet. */
  public static IncomingMigration of(IncomingSpec spec) {
    return new IncomingMigration(Objects.requireNonNull(spec, "spec"));
  }

  /** {@return what this migration is built from} */
  public IncomingSpec spec() {
    return spec;
  }

  /**
   * Waits for a source, receives the guest, and tells of it.
   *
   * <p><b>Demand:</b> as {@link OutgoingMigration#events()}.
   *
   * <p><b>Discard and cancel:</b> cancelling stops the migration as the stop of {@link
   * #events(Mono)} does, but tells nobody when that is done.
   *
   * @return ends with {@link MigrationEvent.Completed}, or in error
   */
  public Flux<MigrationEvent> events() {
    return events(Mono.never());
  }

  /**
   * Waits for a source, receives the guest, and tells of it, until somebody asks for it to stop.
   *
   * @param stop when this completes or emits, the migration stops: the source is told, everything
   *     is freed, and then the flux ends with an error of kind {@code CANCELLED}. Once the guest is
   *     being started it has no effect any more.
   * @return as {@link #events()}
   */
  public Flux<MigrationEvent> events(Mono<?> stop) {
    Objects.requireNonNull(stop, "stop");
    return MigrationRun.events(
        stop, (events, stopped) -> new IncomingSession(spec, stopped, events).run());
  }

  /** Receives a guest. {@return the migration as it was at its end} */
  public Mono<MigrationInfo> run() {
    return MigrationRun.result(events());
  }
}
