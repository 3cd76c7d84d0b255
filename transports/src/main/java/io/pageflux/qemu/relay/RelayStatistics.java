package io.pageflux.qemu.relay;

import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.time.Duration;

/** What a relay counts, guarded by this object's monitor, taken once per batch or piece. */
final class RelayStatistics {

  private long beganNanos;
  private long endedNanos = -1;
  private long qemuBytes;
  private long zeroPages;
  private long rawPages;
  private long deltaPages;
  private long unchangedPages;
  private long returnedBytes;
  private boolean complete;

  synchronized void began(long nowNanos) {
    beganNanos = nowNanos;
  }

  synchronized void qemuBytes(long bytes) {
    qemuBytes += bytes;
  }

  synchronized void returned(long bytes) {
    returnedBytes += bytes;
  }

  /** Counts a batch as it goes between the relays. */
  synchronized void batch(PageBatch batch, int unchanged) {
    zeroPages += batch.count(PageKind.ZERO);
    rawPages += batch.count(PageKind.RAW);
    deltaPages += batch.count(PageKind.DELTA);
    unchangedPages += unchanged;
  }

  synchronized void completed(long nowNanos) {
    complete = true;
    endedNanos = nowNanos;
  }

  synchronized RelayInfo info(long wireBytes, long windowBytes, long nowNanos) {
    return new RelayInfo(
        qemuBytes,
        wireBytes,
        zeroPages,
        rawPages,
        deltaPages,
        unchangedPages,
        returnedBytes,
        windowBytes,
        Duration.ofNanos((endedNanos >= 0 ? endedNanos : nowNanos) - beganNanos),
        complete);
  }
}
