package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.transport.Connection;
import java.util.function.Consumer;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * One session at its source: takes what it needs, connects, has the {@linkplain SourceConversation
 * conversation}, and gives everything back.
 */
final class CheckpointSource {

  final OutgoingCheckpointSpec spec;
  final Mono<Void> stop;
  final Consumer<CheckpointEvent> events;
  final Scheduler timer = Schedulers.parallel();
  private final MadeConnection line = new MadeConnection();
  // What became of the guest, if it does not run. Written before the failure is told.
  private volatile String whereabouts = "";

  CheckpointSource(OutgoingCheckpointSpec spec, Mono<Void> stop, Consumer<CheckpointEvent> events) {
    this.spec = spec;
    this.stop = stop;
    this.events = events;
  }

  /** Completes when the session was stopped. */
  Mono<Void> run() {
    return Mono.usingWhen(
            Mono.fromCallable(() -> SourceResources.open(spec))
                .subscribeOn(Schedulers.boundedElastic()),
            this::protect,
            SourceResources::close)
        .onErrorMap(this::withWhereabouts)
        .onErrorResume(e -> CheckpointRun.isStop(e) && whereabouts.isEmpty(), e -> Mono.empty())
        .doFinally(signal -> line.close());
  }

  private Mono<Void> protect(SourceResources resources) {
    Mono<Connection> connecting =
        line.connect(spec.connector(), spec.peerTimeout(), timer, stop, CheckpointRun::stopped);
    return connecting.flatMap(
        connection ->
            Mono.usingWhen(
                Mono.fromSupplier(() -> new SourceConversation(this, connection, resources)),
                SourceConversation::lead,
                // It leads to no end but a failure, of which a stop is one.
                conversation -> conversation.fail(CheckpointRun.stopped()),
                SourceConversation::fail,
                conversation -> conversation.fail(CheckpointRun.stopped())));
  }

  /** Says that the guest could not go on. */
  void guestStaysPaused(Throwable e) {
    whereabouts = "; and the guest stays paused: " + MigrationText.of(e);
  }

  private Throwable withWhereabouts(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    return whereabouts.isEmpty()
        ? reason
        : MigrationException.of(reason.kind(), MigrationText.of(reason) + whereabouts, reason);
  }
}
