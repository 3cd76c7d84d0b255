package io.pageflux.migration;

import io.pageflux.migration.OutgoingStatistics.Kinds;
import io.pageflux.page.PageBatch;
import java.time.Duration;

/** A round on its way, and where its acknowledgement is awaited. */
final class OutgoingRound {

  final int number;
  final boolean last;
  final long dirtyPages;
  final long beganNanos;
  final Kinds kindsBefore;
  final long bytesBefore;

  /** How many pages the destination has applied. Asked for with the round's end. */
  final Answer<Long> acknowledged = new Answer<>();

  /** Whether pages are still being read. Used on the scanning thread. */
  volatile boolean reading = true;

  long endedNanos;

  private volatile boolean settled;

  // How far pages were read: behind this one of this block. Written on the scanning thread.
  private volatile int readBlock;
  private volatile long readEnd;
  private volatile long readPages;

  OutgoingRound(
      int number,
      boolean last,
      long dirtyPages,
      long beganNanos,
      Kinds kindsBefore,
      long bytesBefore) {
    this.number = number;
    this.last = last;
    this.dirtyPages = dirtyPages;
    this.beganNanos = beganNanos;
    this.kindsBefore = kindsBefore;
    this.bytesBefore = bytesBefore;
  }

  /** Notes what was read. Batches come in ascending order. */
  void read(PageBatch batch) {
    readBlock = batch.blockIndex();
    readEnd = batch.page(batch.size() - 1) + 1;
    readPages += batch.size();
  }

  /** Takes note in a ledger that the destination has what was read. */
  void acknowledge(DirtyLedger ledger) {
    settled = true;
    if (readPages == dirtyPages) {
      ledger.acknowledge();
    } else {
      ledger.acknowledge(readBlock, readEnd);
    }
  }

  /** {@return whether the destination has said that it has the round} */
  boolean isAcknowledged() {
    return settled;
  }

  /** {@return whether the destination was told that this is all} */
  boolean isEnded() {
    return acknowledged.isAsked();
  }

  /** {@return whether pages before one were not read yet} */
  boolean isUnread(int block, long end) {
    return block > readBlock || (block == readBlock && end > readEnd);
  }

  /** The round as it is now that it was acknowledged. */
  RoundReport report(Kinds sent, long bytesWritten, long nowNanos) {
    return new RoundReport(
        number,
        last,
        dirtyPages,
        sent.zero(),
        sent.raw(),
        sent.delta(),
        readPages - sent.total(),
        bytesWritten - bytesBefore,
        Duration.ofNanos(nowNanos - beganNanos));
  }
}
