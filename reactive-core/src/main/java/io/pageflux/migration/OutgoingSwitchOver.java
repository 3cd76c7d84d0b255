package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.WireChannel;
import io.pageflux.convergence.SwitchOverCost.Part;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.function.LongSupplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * What is done while the guest runs nowhere: it is paused, its last pages and its device state are
 * sent, and it is handed over, by what {@link HandOver} allows. Each part is timed.
 */
final class OutgoingSwitchOver {

  private final OutgoingSession migration;
  private final OutgoingSpec spec;
  private final OutgoingResources resources;
  private final SourceGuest guest;
  private final HandOver handOver;
  private final OutgoingConvergence convergence;
  private final Placing placing;
  private final WireChannel channel;
  private final LongSupplier sentPages;
  private final SwitchOverGate gate = new SwitchOverGate();
  private final SwitchOverTimes times;
  private final Answer<WireRecord> prepared = new Answer<>();
  private long deviceStateBytes;

  /**
   * @param sentPages how many pages were sent to be applied before the guest starts
   */
  OutgoingSwitchOver(
      OutgoingSession migration,
      OutgoingResources resources,
      SourceGuest guest,
      HandOver handOver,
      OutgoingConvergence convergence,
      Placing placing,
      WireChannel channel,
      LongSupplier sentPages) {
    this.migration = migration;
    this.spec = migration.spec;
    this.resources = resources;
    this.guest = guest;
    this.handOver = handOver;
    this.convergence = convergence;
    this.placing = placing;
    this.channel = channel;
    this.sentPages = sentPages;
    this.times = new SwitchOverTimes(spec.switchOverCost(), migration::now);
  }

  /**
   * Pauses the guest.
   *
   * @param rest what the destination lacks, or is told that it lacks
   * @param end what follows after the device state
   */
  Flux<WireRecord> pause(Flux<WireRecord> rest, Flux<WireRecord> end) {
    Duration pause = spec.lifecycle().pauseBeforeSwitchover();
    if (pause == null) {
      migration.status(MigrationStatus.DEVICE);
    }
    migration.statistics.paused(migration.now());
    times.begin(Part.PAUSE);
    return Flux.concat(
        guest
            .pause()
            .doOnSuccess(nothing -> times.end(Part.PAUSE))
            .then(pause == null ? Mono.empty() : awaitContinue(pause))
            .publishOn(resources.scanThread)
            .then(Mono.defer(() -> convergence.collect(false)))
            .thenMany(rest),
        Flux.defer(this::deviceState),
        end);
  }

  /** As in QEMU, the guest is paused already: who continues may rely on that. */
  private Mono<Void> awaitContinue(Duration atMost) {
    return gate.pass(
            atMost, migration.timer, () -> migration.status(MigrationStatus.PRE_SWITCHOVER))
        .doOnSuccess(nothing -> migration.status(MigrationStatus.DEVICE));
  }

  /** {@return whether it waited to be continued, and goes on} */
  boolean goOn() {
    return gate.open();
  }

  private Flux<WireRecord> deviceState() {
    times.begin(Part.STATE);
    return Flux.defer(spec.guest()::saveDeviceState)
        .onErrorMap(e -> SourceGuest.failure("give its device state", e))
        .concatMapIterable(DeviceStatePieces::cut)
        .doOnNext(piece -> deviceStateBytes += piece.bytes().length)
        .cast(WireRecord.class);
  }

  /** {@return how much of its device state was sent} */
  long deviceStateBytes() {
    return deviceStateBytes;
  }

  /** The destination is about to hear that this is all. */
  void offer() {
    if (handOver.take(HandOver.Event.OFFER) != HandOver.Action.SAY_END) {
      throw MigrationRun.cancelled();
    }
    times.end(Part.STATE);
    times.begin(Part.PREPARE, convergence.shortestAnswerNanos());
    prepared.ask();
  }

  /** {@return what follows on the destination's word that it has all} */
  Flux<WireRecord> whenPrepared(Flux<WireRecord> next) {
    return resources.after(prepared.asMono().doOnNext(this::checkPrepared), next);
  }

  private void checkPrepared(WireRecord record) {
    long sent = sentPages.getAsLong();
    if (record instanceof WireRecord.Prepared(long pages) && pages != sent) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "%d pages were sent, but %s has applied %d".formatted(sent, channel.peer(), pages));
    }
  }

  /** {@return whether the destination was asked for this word} */
  boolean prepared(WireRecord.Prepared word) {
    times.end(Part.PREPARE); // Before anybody goes on.
    return prepared.give(word);
  }

  /** Gives the guest up. */
  Flux<WireRecord> commit() {
    placing.end();
    times.begin(Part.START, convergence.shortestAnswerNanos());
    return handOver.commit()
        ? Flux.just(new WireRecord.Commit())
        : Flux.error(MigrationRun.cancelled());
  }

  /** The guest runs at the destination. */
  void started() {
    times.end(Part.START);
  }
}
