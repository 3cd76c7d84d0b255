package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamLayout;
import io.pageflux.wire.WireRecord;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * What of an outgoing migration outlives a connection: who it is, which pages the destination
 * lacks, and how far the round had come that was under way.
 *
 * <p>Used on the scanning thread, but for what is volatile.
 */
final class OutgoingState {

  final UUID session = UUID.randomUUID();
  final DirtyLedger ledger;
  private final RamLayout layout;

  /** The round that was begun last; null before the first. */
  private @Nullable OutgoingRound round;

  private int rounds;

  /** When the first round began. */
  private long beganNanos;

  private boolean began;

  /** Bytes that went by connections that have ended. */
  volatile long bytesBefore;

  /** How many connections have led to rounds. */
  volatile int connections;

  /** Why post-copy was asked for; null if it was not. */
  volatile @Nullable String postcopyAsked;

  /** Absent pages that the destination had when it last said so. */
  volatile long arrivedPages;

  /** Pages that were asked for on connections that have ended. */
  volatile long requestsBefore;

  /** Whether the migration may go on with another connection, if this one is lost. */
  volatile boolean resumable;

  /** What the next connection is to go on with, instead of rounds; null if it is not. */
  volatile @Nullable OpenHandOver open;

  OutgoingState(RamLayout layout) {
    this.layout = layout;
    this.ledger = new DirtyLedger(layout);
  }

  /**
   * {@return how many pages are known to have arrived, each as often as it did; from any thread}
   */
  long progress() {
    return ledger.acknowledgedPages() + arrivedPages;
  }

  /** {@return the number that the next round has} */
  int nextRound() {
    return rounds + 1;
  }

  /** A round begins. */
  void begin(OutgoingRound next) {
    round = next;
    rounds = next.number;
  }

  /** {@return when the first round began, which may be now} */
  long began(long nowNanos) {
    if (!began) {
      began = true;
      beganNanos = nowNanos;
    }
    return beganNanos;
  }

  boolean hasBegun() {
    return began;
  }

  /**
   * Takes what the destination says that it has, and owes it the rest.
   *
   * @return whether it has anything
   * @throws MigrationException of kind {@code PROTOCOL} if it claims what it cannot have
   */
  boolean resume(WireRecord.ResumePoint point) {
    OutgoingRound last = round;
    if (point.round() == 0) {
      ledger.rollBack();
      ledger.dirty().addAll(); // Whatever was there once is not any more.
      rounds = 0;
      round = null;
      return false;
    }
    if (last == null || point.round() > last.number || point.round() < last.number - 1) {
      throw claims(point, "%d were begun".formatted(last == null ? 0 : last.number));
    }
    if (point.round() < last.number) {
      // Its beginning never arrived; and it was begun because the one before is settled.
      if (!point.complete()) {
        throw claims(point, "that one was acknowledged as a whole");
      }
      ledger.rollBack();
    } else if (point.complete()) {
      if (!last.isEnded()) {
        throw claims(point, "its end was not sent");
      }
      last.acknowledge(ledger);
    } else {
      if (last.isAcknowledged()) {
        throw claims(point, "that one was acknowledged as a whole");
      }
      if (point.block() >= layout.blocks().size() || last.isUnread(point.block(), point.end())) {
        throw claims(
            point, "page %d of block %d was not sent".formatted(point.end() - 1, point.block()));
      }
      ledger.acknowledge(point.block(), point.end());
    }
    rounds = point.round();
    return true;
  }

  private static MigrationException claims(WireRecord.ResumePoint point, String but) {
    return MigrationException.of(
        Kind.PROTOCOL,
        "the destination claims to have %s of round %d of this migration, but %s"
            .formatted(point.complete() ? "all" : "a part", point.round(), but));
  }
}
