package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.WireChannel;
import io.pageflux.codec.DeltaDecoder;
import io.pageflux.codec.PageLoader;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.wire.WireRecord;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The rounds of pre-copy as they arrive: their pages are applied in order, and counted against what
 * the source says of them. Used serially, but for {@link #appliedPages()}.
 */
final class IncomingRounds {

  private final IncomingSession migration;
  private final WireChannel channel;
  private final LongSupplier position;
  private final PageLoader loader;
  private final DeltaDecoder deltas = new DeltaDecoder();
  private int number;
  private @Nullable IncomingRound round; // From its beginning on, until the next one's.
  private volatile long appliedPages;
  private long placedInRound;

  /**
   * @param position how many bytes have come so far
   */
  IncomingRounds(IncomingSession migration, WireChannel channel, LongSupplier position) {
    this.migration = migration;
    this.channel = channel;
    this.position = position;
    this.loader = new PageLoader(migration.memory);
  }

  /** Takes up the rounds of the connection before. */
  void followOn(WireRecord.ResumePoint point) {
    number = point.round();
  }

  /** {@return a round that begins} */
  IncomingRound begin(WireRecord.RoundBegin begin) {
    IncomingRound next =
        new IncomingRound(
            begin,
            number,
            migration.memory.layout().totalPages(),
            migration.statistics.kinds(),
            position.getAsLong(),
            migration.now());
    round = next;
    number = next.number;
    IncomingState kept = migration.state;
    if (kept != null) {
      kept.begin(next.number);
    }
    migration.statistics.roundBegan(next.last, next.dirtyPages, migration.now());
    return next;
  }

  private IncomingRound current() {
    IncomingRound current = round;
    if (current == null) {
      throw new IllegalStateException("no round has begun");
    }
    return current;
  }

  /** Brings the pages of a batch to memory, and releases it in any case. */
  void apply(PageBatch batch) {
    try {
      current().expect(batch.size());
      int placed = batch.count(PageKind.PLACED);
      if (placed > 0 && !migration.isOffered(batch.blockIndex())) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "%s says that it has placed pages in block %d, which was not offered to it"
                .formatted(channel.peer(), batch.blockIndex()));
      }
      migration.statistics.batch(batch);
      deltas.expand(batch, migration.memory);
      loader.load(batch);
      IncomingState kept = migration.state;
      if (kept != null) {
        kept.applied(batch);
      }
      IncomingPostcopy possible = migration.postcopy;
      if (possible != null) {
        possible.received(batch);
      }
      // What was placed is sure to be there when the source says that the round is complete.
      appliedPages += batch.size() - placed;
      placedInRound += placed;
    } finally {
      batch.release();
    }
  }

  /** {@return the round, which is whole} */
  RoundReport end(WireRecord.RoundEnd end) {
    RoundReport report =
        current().report(end, migration.statistics.kinds(), position.getAsLong(), migration.now());
    appliedPages += placedInRound;
    placedInRound = 0;
    return report;
  }

  /** Tells the source that all of a round is in memory. */
  void acknowledge(RoundReport report) {
    migration.statistics.round(report);
    IncomingState kept = migration.state;
    if (kept != null) {
      kept.complete();
    }
    channel.say(
        new WireRecord.RoundAck(
            report.round(), report.zeroPages() + report.rawPages() + report.deltaPages()));
    migration.events.emit(new MigrationEvent.RoundCompleted(report));
  }

  /** Counts pages that were applied otherwise. */
  void alsoApplied(int pages) {
    appliedPages += pages;
  }

  /** {@return how many pages this connection has brought. From any thread} */
  long appliedPages() {
    return appliedPages;
  }
}
