package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.migration.OutgoingStatistics.Kinds;
import io.pageflux.wire.WireRecord;
import java.time.Duration;

/** A round that is arriving, held against what the source has announced of it. */
final class IncomingRound {

  final int number;
  final boolean last;
  final long dirtyPages;
  private final long beganNanos;
  private final Kinds kindsBefore;
  private final long bytesBefore;
  private long pages;

  /**
   * @throws MigrationException if this cannot be the round that follows
   */
  IncomingRound(
      WireRecord.RoundBegin begin,
      int roundsBefore,
      long memoryPages,
      Kinds kindsBefore,
      long bytesBefore,
      long nowNanos) {
    if (begin.round() != roundsBefore + 1) {
      throw MigrationException.of(
          Kind.PROTOCOL, "round %d follows round %d".formatted(begin.round(), roundsBefore));
    }
    if (begin.pages() > memoryPages) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "round %d is to have %d pages, but the memory has %d pages"
              .formatted(begin.round(), begin.pages(), memoryPages));
    }
    this.number = begin.round();
    this.last = begin.last();
    this.dirtyPages = begin.pages();
    this.kindsBefore = kindsBefore;
    this.bytesBefore = bytesBefore;
    this.beganNanos = nowNanos;
  }

  /** Counts pages before they are applied. */
  void expect(int count) {
    pages += count;
    if (pages > dirtyPages) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "round %d was to have %d pages, but there are more".formatted(number, dirtyPages));
    }
  }

  /**
   * {@return the round, whole}
   *
   * @throws MigrationException if something else has arrived than was sent
   */
  RoundReport report(WireRecord.RoundEnd end, Kinds kindsNow, long bytesNow, long nowNanos) {
    Kinds applied = kindsNow.minus(kindsBefore);
    Kinds sent = new Kinds(end.zero(), end.raw(), end.delta());
    if (end.round() != number || !applied.equals(sent)) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "round %d ends as round %d with %s, but %s have arrived"
              .formatted(number, end.round(), sent, applied));
    }
    return new RoundReport(
        number,
        last,
        dirtyPages,
        applied.zero(),
        applied.raw(),
        applied.delta(),
        dirtyPages - applied.total(),
        bytesNow - bytesBefore,
        Duration.ofNanos(nowNanos - beganNanos));
  }
}
