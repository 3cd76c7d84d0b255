package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import java.util.concurrent.TimeUnit;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * One migration at its source: takes what it needs, connects, has the {@linkplain
 * OutgoingConversation conversation}, and gives everything back.
 */
final class OutgoingSession {

  final OutgoingSpec spec;
  final Mono<Void> stop;
  final MigrationRun.EventSink events;
  final RunningOutgoing running;
  final Scheduler timer = Schedulers.parallel();

  final OutgoingStatistics statistics;
  private final MadeConnection line = new MadeConnection();
  // Where the guest is after a failure, if it does not run here. Written before the error is told.
  private volatile String whereabouts = "";

  OutgoingSession(
      OutgoingSpec spec, Mono<Void> stop, MigrationRun.EventSink events, RunningOutgoing running) {
    this.spec = spec;
    this.stop = stop;
    this.events = events;
    this.running = running;
    this.statistics = new OutgoingStatistics(spec, now());
  }

  long now() {
    return timer.now(TimeUnit.NANOSECONDS);
  }

  Mono<MigrationInfo> run() {
    return Mono.usingWhen(
            Mono.fromCallable(() -> OutgoingResources.open(spec))
                .subscribeOn(Schedulers.boundedElastic()),
            this::migrate,
            OutgoingResources::close)
        .delayUntil(info -> releaseRam())
        .onErrorMap(this::withWhereabouts)
        .doOnError(this::failed)
        .doFinally(signal -> line.close())
        .doOnSubscribe(s -> status(MigrationStatus.SETUP));
  }

  /**
   * After all: until the destination has said that it runs the guest, the source may have to; and
   * what has ended well does not fail any more.
   */
  private Mono<Void> releaseRam() {
    return spec.lifecycle().releaseRam()
        ? Mono.fromCallable(() -> spec.memory().releasePages())
            .subscribeOn(Schedulers.boundedElastic())
            .map(bytes -> new MigrationEvent.RamReleased(bytes, null))
            .onErrorResume(e -> Mono.just(new MigrationEvent.RamReleased(0, MigrationText.of(e))))
            .doOnNext(events::emit)
            .then()
        : Mono.empty();
  }

  private Mono<MigrationInfo> migrate(OutgoingResources resources) {
    statistics.tracker(resources.tracker.name());
    Mono<Connection> connecting =
        // Hidden, it is a request that connects: who has been stopped before makes none.
        Mono.just(spec.connector())
            .hide()
            .<Connection>flatMap(Connector::connect)
            .doOnNext(line::made)
            .timeout(
                spec.peerTimeout(),
                Mono.error(
                    () ->
                        MigrationException.of(
                            Kind.TIMEOUT,
                            "no connection within " + MigrationText.of(spec.peerTimeout()))),
                timer)
            .takeUntilOther(stop)
            .switchIfEmpty(Mono.error(MigrationRun::cancelled))
            .doOnDiscard(Connection.class, Connection::dispose);
    return connecting.flatMap(
        connection ->
            Mono.usingWhen(
                Mono.fromSupplier(() -> new OutgoingConversation(this, connection, resources)),
                OutgoingConversation::lead,
                OutgoingConversation::finish,
                OutgoingConversation::fail,
                conversation -> conversation.fail(MigrationRun.cancelled())));
  }

  /** Adds to what a failure says where the guest is. Before the failure is told. */
  void add(String toWhereabouts) {
    whereabouts += toWhereabouts;
  }

  private Throwable withWhereabouts(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    return whereabouts.isEmpty()
        ? reason
        : MigrationException.of(reason.kind(), MigrationText.of(reason) + whereabouts, reason);
  }

  private void failed(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    boolean cancelled = reason.kind() == Kind.CANCELLED && !reason.isFromPeer();
    MigrationStatus status = cancelled ? MigrationStatus.CANCELLED : MigrationStatus.FAILED;
    statistics.ended(status, MigrationText.of(reason), now());
    events.emit(new MigrationEvent.StatusChanged(status));
  }

  /** Says where the migration is. */
  void status(MigrationStatus status) {
    statistics.status(status);
    events.emit(new MigrationEvent.StatusChanged(status));
  }
}
