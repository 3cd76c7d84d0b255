package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.WireChannel;
import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.memory.MemoryPages;
import io.pageflux.migration.OutgoingStatistics.Kinds;
import io.pageflux.wire.WireRecord;
import java.util.function.BooleanSupplier;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * The rounds of pre-copy: what is dirty is read and sent, and settled when the destination has
 * acknowledged all of it. The scanning thread's, but for what the peer says.
 */
final class OutgoingRounds {

  private final OutgoingSession migration;
  private final OutgoingResources resources;
  private final OutgoingStatistics statistics;
  private final OutgoingConvergence convergence;
  private final OutgoingPages pages;
  private final Placing placing;
  private final HookCalls hooks;
  private final WireChannel channel;
  private final LongSupplier position;
  private volatile @Nullable OutgoingRound round;
  private volatile long sentPages;

  /**
   * @param position how many bytes have been sent so far
   */
  OutgoingRounds(
      OutgoingSession migration,
      OutgoingResources resources,
      OutgoingConvergence convergence,
      OutgoingPages pages,
      Placing placing,
      HookCalls hooks,
      WireChannel channel,
      LongSupplier position) {
    this.migration = migration;
    this.resources = resources;
    this.statistics = migration.statistics;
    this.convergence = convergence;
    this.pages = pages;
    this.placing = placing;
    this.hooks = hooks;
    this.channel = channel;
    this.position = position;
  }

  /** {@return the round that is under way, or was the last; null before the first} */
  @Nullable OutgoingRound current() {
    return round;
  }

  /** {@return pages that were sent in rounds that have been read} */
  long sentPages() {
    return sentPages;
  }

  /** {@return whether a round was to be acknowledged, and is so by this} */
  boolean acknowledge(WireRecord.RoundAck ack) {
    OutgoingRound awaited = round;
    return awaited != null
        && awaited.number == ack.round()
        && awaited.acknowledged.give(ack.pages());
  }

  /**
   * A round. It is begun when this is called.
   *
   * @param features what was agreed on
   * @param leave asked before each batch whether the rest is not to be read
   * @param next what is done when it was acknowledged
   */
  Flux<WireRecord> round(long features, boolean last, BooleanSupplier leave, Mono<Void> next) {
    MigrationParameters parameters = parameters(last);
    OutgoingState state = migration.state;
    MemoryPages dirty = state.ledger.beginRound();
    OutgoingRound begun =
        new OutgoingRound(
            state.nextRound(),
            last,
            dirty.cardinality(),
            convergence.now(),
            statistics.kinds(),
            position.getAsLong());
    state.begin(begun);
    round = begun;
    convergence.roundBegan(begun);
    XbzrleEncoder encoder = resources.encoder;
    if (encoder != null) {
      encoder.beginRound(begun.number, begun.number == 1, last);
    }
    migration.events.emit(new MigrationEvent.RoundStarted(begun.number, last, begun.dirtyPages));
    return Flux.concat(
        // Nothing waits here if there is no hook.
        hooks
            .before(new MigrationHooks.Round(begun.number, last, begun.dirtyPages))
            .thenMany(Flux.empty()),
        Flux.just(new WireRecord.RoundBegin(begun.number, last, begun.dirtyPages)),
        pages
            .of(dirty, features, parameters.compression(), begun, leave)
            .<WireRecord>map(WireRecord.Pages::new)
            .doOnComplete(() -> begun.reading = false),
        placing.flush().thenMany(Flux.empty()),
        Mono.fromSupplier(() -> end(begun)),
        resources.after(
            begun.acknowledged.asMono().doOnNext(n -> checkAck(begun, n)),
            Flux.defer(() -> acknowledged(begun, next))));
  }

  /**
   * What holds for the round that begins. All pages of the round before have been acknowledged, so
   * nothing is on its way that was made by other means.
   */
  private MigrationParameters parameters(boolean last) {
    OutgoingControl control = migration.control;
    MigrationParameters set = control.parameters();
    if (set.compression() != null) {
      statistics.compressing();
    }
    if (!last) { // a new cache would only take time then
      String refused = resources.cache(set.xbzrle());
      if (!refused.isEmpty()) {
        control.keepXbzrle(resources.xbzrle(), "the cache stays as it is: " + refused);
      }
    }
    return set;
  }

  private WireRecord end(OutgoingRound begun) {
    Kinds sent = statistics.kinds().minus(begun.kindsBefore);
    sentPages += sent.total();
    begun.endedNanos = migration.now();
    begun.acknowledged.ask();
    return new WireRecord.RoundEnd(begun.number, sent.zero(), sent.raw(), sent.delta());
  }

  private void checkAck(OutgoingRound begun, long pages) {
    long sent = statistics.kinds().minus(begun.kindsBefore).total();
    if (pages != sent) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "%s has applied %d pages of round %d, but %d were sent"
              .formatted(channel.peer(), pages, begun.number, sent));
    }
  }

  private Flux<WireRecord> acknowledged(OutgoingRound begun, Mono<Void> next) {
    long now = convergence.now();
    begun.acknowledge(migration.state.ledger);
    Kinds sent = statistics.kinds().minus(begun.kindsBefore);
    RoundReport report = begun.report(sent, position.getAsLong(), now);
    statistics.round(report);
    convergence.roundAcknowledged(migration.now() - begun.endedNanos, now);
    XbzrleEncoder encoder = resources.encoder;
    if (encoder != null) {
      encoder.endPeriod(begun.dirtyPages);
    }
    migration.events.emit(new MigrationEvent.RoundCompleted(report));
    return (hooks.none() ? next : resources.then(hooks.after(report), next)).thenMany(Flux.empty());
  }
}
