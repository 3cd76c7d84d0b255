package io.pageflux.migration;

import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyStatistics;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The counters of an incoming migration, guarded by this object's monitor, taken once per batch.
 */
final class IncomingStatistics {

  private final long totalBytes;
  private final int pageSizeBytes;
  private final long beganNanos;

  private MigrationStatus status = MigrationStatus.SETUP;
  private final List<RoundReport> rounds = new ArrayList<>();
  private long firstRoundNanos = -1;
  private long lastRoundNanos = -1;
  private long endedNanos = -1;
  private Duration downtime = Duration.ZERO;
  private @Nullable String errorDesc;

  private long received;
  private long remainingBytes;
  private long zeroPages;
  private long rawPages;
  private long rawBytes;
  private long deltaPages;
  private long batches;
  private long rawBatches;
  private long payloadBytes;
  private long storedBytes;
  private @Nullable PlacementStatistics placement;

  private long switchNanos = -1;
  private long switchBytes;
  private long runningBytes = -1;
  private long absentPages;
  private @Nullable AbsentPages postcopy;

  IncomingStatistics(long totalBytes, int pageSizeBytes, long nowNanos) {
    this.totalBytes = totalBytes;
    this.pageSizeBytes = pageSizeBytes;
    this.beganNanos = nowNanos;
    this.remainingBytes = totalBytes;
  }

  synchronized void status(MigrationStatus newStatus) {
    status = newStatus;
  }

  /** Says how many blocks were offered. */
  synchronized void offered(int blocks) {
    placement = new PlacementStatistics(blocks, 0, 0, List.of());
  }

  /** {@return bytes that did not come by the stream} */
  synchronized long placedBytes() {
    return placement == null ? 0 : placement.bytes();
  }

  synchronized void received(long bytes) {
    received = bytes;
  }

  synchronized void roundBegan(boolean last, long pages, long nowNanos) {
    if (firstRoundNanos < 0) {
      firstRoundNanos = nowNanos;
    }
    if (last) {
      lastRoundNanos = nowNanos;
    }
    remainingBytes = pages * pageSizeBytes;
  }

  /** Counts a batch as it came, before it is decompressed. */
  synchronized void arrived(PageBatch batch) {
    payloadBytes += batch.payloadBytes();
    storedBytes += batch.storedBytes();
    if (batch.isCompressed()) {
      batches++;
    } else if (batch.payloadBytes() > 0) {
      rawBatches++;
    }
  }

  /** Counts the pages of a batch that is to be applied. */
  synchronized void batch(PageBatch batch) {
    int placed = batch.count(PageKind.PLACED);
    int raw = batch.count(PageKind.RAW) + placed;
    if (placement != null && placed > 0) {
      placement =
          new PlacementStatistics(
              placement.blocks(),
              placement.pages() + placed,
              placement.bytes() + (long) placed * batch.pageSizeBytes(),
              placement.refusals());
    }
    zeroPages += batch.count(PageKind.ZERO);
    rawPages += raw;
    rawBytes += (long) raw * batch.pageSizeBytes();
    deltaPages += batch.count(PageKind.DELTA);
    remainingBytes -= (long) batch.size() * batch.pageSizeBytes();
  }

  synchronized void round(RoundReport report) {
    rounds.add(report);
    remainingBytes = 0;
  }

  synchronized OutgoingStatistics.Kinds kinds() {
    return new OutgoingStatistics.Kinds(zeroPages, rawPages, deltaPages);
  }

  /** The source has paused its guest to switch to post-copy; said again, it changes nothing. */
  synchronized void switching(long nowNanos) {
    if (switchNanos < 0) {
      switchNanos = nowNanos;
      lastRoundNanos = nowNanos;
    }
  }

  /** The switch to post-copy did not come about; there may be another one. */
  synchronized void notSwitched() {
    switchNanos = -1;
    postcopy = null;
  }

  /** It was said what is absent. */
  synchronized void switched(long bytes) {
    switchBytes = bytes;
  }

  /** The guest runs here, and pages are absent. */
  synchronized void startedEarly(long bytes) {
    runningBytes = bytes;
  }

  synchronized void postcopy(AbsentPages pages, long absent) {
    postcopy = pages;
    absentPages = absent;
  }

  private @Nullable PostcopyStatistics postcopy() {
    AbsentPages pages = postcopy;
    if (pages == null) {
      return null;
    }
    long ran = runningBytes < 0 ? received : runningBytes;
    return new PostcopyStatistics(
        Duration.ofNanos(switchNanos - beganNanos),
        absentPages,
        pages.requestedPages(),
        pages.demandedPages(),
        pages.pushedPages(),
        pages.ownedPages(),
        switchBytes,
        ran - switchBytes,
        received - ran,
        pages.latency().summary());
  }

  synchronized void running(long nowNanos) {
    downtime = Duration.ofNanos(nowNanos - lastRoundNanos);
  }

  synchronized void ended(MigrationStatus finalStatus, @Nullable String error, long nowNanos) {
    status = finalStatus;
    errorDesc = error;
    endedNanos = nowNanos;
  }

  synchronized MigrationInfo info(long nowNanos) {
    long endNanos = endedNanos >= 0 ? endedNanos : nowNanos;
    long workedFrom = firstRoundNanos >= 0 ? firstRoundNanos : endNanos;
    double seconds = Math.max(1, endNanos - workedFrom) / 1e9;
    return new MigrationInfo(
        status,
        Duration.ofNanos(endNanos - beganNanos),
        Duration.ofNanos(workedFrom - beganNanos),
        downtime,
        null,
        Duration.ZERO,
        0,
        new RamStatistics(
            received,
            Math.max(0, remainingBytes),
            totalBytes,
            zeroPages,
            rawPages,
            rawBytes,
            0,
            received * 8 / 1e6 / seconds,
            rounds.size(),
            pageSizeBytes,
            (long) ((zeroPages + rawPages + deltaPages) / seconds)),
        null,
        null,
        new CompressionStatistics(batches, rawBatches, payloadBytes, storedBytes),
        placement,
        postcopy(),
        "",
        rounds,
        List.of(),
        errorDesc);
  }
}
