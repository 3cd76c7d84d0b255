package io.pageflux.migration;

import io.pageflux.page.PageBatch;
import io.pageflux.wire.WireRecord;
import java.util.UUID;

/**
 * What of an incoming migration outlives a connection: whose it is, and how far it has come.
 *
 * <p>Guarded by its monitor, which is held while a batch is applied: who closes a conversation
 * waits for the batch that is being applied just then, and knows that none will be after it.
 */
final class IncomingState {

  final UUID session;
  private WireRecord.ResumePoint point = WireRecord.ResumePoint.BEGINNING;

  IncomingState(UUID session) {
    this.session = session;
  }

  /** A round begins. */
  synchronized void begin(int round) {
    point = new WireRecord.ResumePoint(round, false, 0, 0);
  }

  /** The pages of a batch are in memory. Batches of a round ascend. */
  synchronized void applied(PageBatch batch) {
    point =
        new WireRecord.ResumePoint(
            point.round(), false, batch.blockIndex(), batch.page(batch.size() - 1) + 1);
  }

  /** All of the round is in memory. */
  synchronized void complete() {
    point = new WireRecord.ResumePoint(point.round(), true, 0, 0);
  }

  /** {@return how far it has come} */
  synchronized WireRecord.ResumePoint point() {
    return point;
  }
}
