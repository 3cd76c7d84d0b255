package io.pageflux.migration;

import io.pageflux.codec.XbzrleCounters;
import io.pageflux.convergence.ConvergenceFigures;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.postcopy.LatencyHistogram;
import io.pageflux.postcopy.PostcopyStatistics;
import io.pageflux.wire.WireWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The counters of an outgoing migration. Written by whichever thread the stream is on, read by
 * whoever wants to know; everything is guarded by this object's monitor, taken once per batch.
 */
final class OutgoingStatistics {

  private static final long PERIOD_NANOS = 1_000_000_000;
  private static final int MOST_STEPS = 1_000;

  private final long totalBytes;
  private final int pageSizeBytes;
  private boolean compressing;
  private final long beganNanos;

  private MigrationStatus status = MigrationStatus.SETUP;
  private String tracker = "";
  private final List<RoundReport> rounds = new ArrayList<>();
  private long firstRoundNanos = -1;
  private long pausedNanos = -1;
  private long endedNanos = -1;
  private Duration downtime = Duration.ZERO;
  private @Nullable Duration expectedDowntime;
  private @Nullable ConvergenceStatistics convergence;
  private Duration downtimeLimit;
  private int throttlePercent;
  private final List<ConvergenceStep> steps = new ArrayList<>();
  private @Nullable String errorDesc;

  private long transferred;
  private long dirtyBytes;
  private long zeroPages;
  private long rawPages;
  private long rawBytes;
  private long deltaPages;
  private long dirtyPagesRate;
  private long periodNanos;
  private long periodPages;
  private boolean periodEnded;
  private long syncCount;
  private long handledPages;
  private long encodedPages;

  private long batches;
  private long rawBatches;
  private long payloadBytes;
  private long storedBytes;
  private long recordBytes;
  private @Nullable PlacementStatistics placement;

  private long switchNanos = -1;
  private long switchBytes;
  private long runningBytes = -1;
  private long absentPages;
  private long requests;
  private long demandedPages;
  private long pushedPages;

  // The last window over which mbps and pages per second were taken.
  private long windowNanos;
  private long windowTransferred;
  private long windowPages;
  private double mbps;
  private long pagesPerSecond;

  OutgoingStatistics(OutgoingSpec spec, long nowNanos) {
    this.totalBytes = spec.memory().sizeBytes();
    this.pageSizeBytes = spec.memory().block(0).pageSizeBytes();
    this.compressing = spec.compression() != null;
    this.beganNanos = nowNanos;
    this.windowNanos = nowNanos;
    this.dirtyBytes = totalBytes;
    this.downtimeLimit = spec.limits().downtimeLimit();
  }

  /** Somebody has switched compression on. */
  synchronized void compressing() {
    compressing = true;
  }

  synchronized void status(MigrationStatus newStatus) {
    status = newStatus;
  }

  synchronized void tracker(String name) {
    tracker = name;
  }

  synchronized void firstRound(long nowNanos) {
    firstRoundNanos = nowNanos;
    periodNanos = nowNanos;
  }

  synchronized void transferred(long bytes) {
    transferred = bytes;
  }

  /** {@return bytes of pages that are dirty and were not read} */
  synchronized long remainingBytes() {
    return Math.clamp(dirtyBytes, 0, totalBytes);
  }

  /** Says what is to be read, now that a migration goes on that was interrupted. */
  synchronized void owed(long bytes) {
    dirtyBytes = bytes;
  }

  /** Says what may be placed, and why the rest may not. */
  synchronized void placing(int blocks, List<String> refusals) {
    placement = new PlacementStatistics(blocks, 0, 0, refusals);
  }

  /** Counts pages that were taken over on their way to the wire. */
  synchronized void placed(long pages, long bytes) {
    PlacementStatistics before = placement;
    if (before != null) {
      placement =
          new PlacementStatistics(
              before.blocks(), before.pages() + pages, before.bytes() + bytes, before.refusals());
    }
  }

  /** {@return bytes that did not go by the stream} */
  synchronized long placedBytes() {
    return placement == null ? 0 : placement.bytes();
  }

  /** Counts a batch that is on its way, as it is sent. */
  synchronized void batch(PageBatch batch) {
    int raw = batch.count(PageKind.RAW) + batch.count(PageKind.PLACED);
    zeroPages += batch.count(PageKind.ZERO);
    rawPages += raw;
    rawBytes += (long) raw * batch.pageSizeBytes();
    deltaPages += batch.count(PageKind.DELTA);
    payloadBytes += batch.payloadBytes();
    storedBytes += batch.storedBytes();
    recordBytes += WireWriter.recordBytes(batch);
    if (batch.isCompressed()) {
      batches++;
    } else if (batch.payloadBytes() > 0) {
      rawBatches++;
    }
  }

  /** Counts pages that were read from memory, whether they are sent or not. */
  synchronized void scanned(PageBatch batch) {
    handledPages += batch.size();
    dirtyBytes -= (long) batch.size() * batch.pageSizeBytes();
  }

  /** Counts pages that have to be sent. */
  synchronized void changed(PageBatch batch) {
    encodedPages += batch.size();
  }

  /**
   * What pages became.
   *
   * @param pages how many they are
   * @param contents how many of these were not zero
   * @param bytes what was made of them for the wire
   */
  record Made(long pages, long contents, long bytes) {}

  /**
   * {@return what was made of the pages that are on their way or turned out unchanged} What was
   * read and waits for its turn is not among them: neither its pages nor its bytes.
   */
  synchronized Made made() {
    long contents = rawPages + deltaPages + unchangedPages();
    return new Made(zeroPages + contents, contents, recordBytes + placedBytes());
  }

  /** {@return pages that were read and do not have to be sent} */
  synchronized long unchangedPages() {
    return handledPages - encodedPages;
  }

  /**
   * Counts a collection of dirty pages within a round, which is none of {@code dirty-sync-count}.
   *
   * @param newBytes bytes that are dirty and were not before
   */
  synchronized void collectedWithin(long newBytes, long found, long nowNanos) {
    dirtyBytes += newBytes;
    dirtied(found, nowNanos);
  }

  /**
   * Counts a collection of dirty pages. Their rate is that of periods of a second at least, as in
   * QEMU, for two collections may follow one another at once; only the first may be shorter, so
   * that there is a figure at all.
   *
   * @param dirty bytes that are dirty now
   * @param found pages that were found dirty
   */
  synchronized void collected(long dirty, long found, long nowNanos) {
    dirtyBytes = dirty;
    syncCount++;
    dirtied(found, nowNanos);
  }

  private void dirtied(long found, long nowNanos) {
    periodPages += found;
    long nanos = nowNanos - periodNanos;
    if (nanos >= PERIOD_NANOS || !periodEnded) {
      dirtyPagesRate = (long) (periodPages * 1e9 / Math.max(1, nanos));
      periodPages = 0;
      periodNanos = nowNanos;
      periodEnded = true;
    }
  }

  synchronized void collectedFirst() {
    syncCount++;
  }

  synchronized void round(RoundReport report) {
    rounds.add(report);
  }

  synchronized void convergence(ConvergenceFigures figures) {
    expectedDowntime = figures.downtime().known() ? figures.downtime().expected() : null;
    convergence = ConvergenceStatistics.of(figures);
  }

  synchronized void downtimeLimit(Duration limit) {
    downtimeLimit = limit;
  }

  synchronized void throttled(int percent) {
    throttlePercent = percent;
  }

  synchronized void step(ConvergenceStep step) {
    if (steps.size() < MOST_STEPS) {
      steps.add(step);
    }
  }

  synchronized void paused(long nowNanos) {
    pausedNanos = nowNanos;
  }

  /** Post-copy is being switched to. */
  synchronized void postcopySwitch(long nowNanos, long bytes) {
    switchNanos = nowNanos;
    switchBytes = bytes;
  }

  /** The switch to post-copy did not come about; there may be another one. */
  synchronized void notSwitched() {
    switchNanos = -1;
    absentPages = 0;
  }

  /** The guest runs at the destination, which lacks pages. */
  synchronized void postcopyRunning(long bytes) {
    runningBytes = bytes;
  }

  /** Says what the destination lacks. */
  synchronized void absent(long pages) {
    absentPages = pages;
  }

  /** Counts pages that are sent because they were asked for. */
  synchronized void demanded(PageBatch batch) {
    demandedPages += batch.size();
    scanned(batch);
    changed(batch);
    batch(batch);
  }

  /** Counts pages that are sent in the background of post-copy. */
  synchronized void pushed(PageBatch batch) {
    pushedPages += batch.size();
    scanned(batch);
    changed(batch);
  }

  /** Says how many pages were asked for. */
  synchronized void requests(long pages) {
    requests = pages;
  }

  private @Nullable PostcopyStatistics postcopy() {
    if (switchNanos < 0) {
      return null;
    }
    long ran = runningBytes < 0 ? transferred : runningBytes;
    return new PostcopyStatistics(
        Duration.ofNanos(switchNanos - beganNanos),
        absentPages,
        requests,
        demandedPages,
        pushedPages,
        0,
        switchBytes,
        ran - switchBytes,
        transferred - ran,
        LatencyHistogram.Summary.EMPTY);
  }

  synchronized void resumed(long nowNanos) {
    downtime = Duration.ofNanos(nowNanos - pausedNanos);
  }

  synchronized void ended(MigrationStatus finalStatus, @Nullable String error, long nowNanos) {
    status = finalStatus;
    errorDesc = error;
    endedNanos = nowNanos;
    double seconds = Math.max(1, nowNanos - Math.max(firstRoundNanos, beganNanos)) / 1e9;
    mbps = transferred * 8 / 1e6 / seconds;
    pagesPerSecond = (long) (handledPages / seconds);
  }

  synchronized long syncCount() {
    return syncCount;
  }

  /** Zero, raw and delta pages so far, to take a round's from the difference. */
  record Kinds(long zero, long raw, long delta) {
    Kinds minus(Kinds before) {
      return new Kinds(zero - before.zero, raw - before.raw, delta - before.delta);
    }

    long total() {
      return zero + raw + delta;
    }
  }

  synchronized Kinds kinds() {
    return new Kinds(zeroPages, rawPages, deltaPages);
  }

  /** Renews the figures of the last window, if it was long enough to mean something. */
  private void renewWindow(long nowNanos) {
    long nanos = nowNanos - windowNanos;
    if (endedNanos >= 0 || nanos < 100_000_000) {
      return;
    }
    mbps = (transferred - windowTransferred) * 8 * 1e3 / nanos;
    pagesPerSecond = (long) ((handledPages - windowPages) * 1e9 / nanos);
    windowNanos = nowNanos;
    windowTransferred = transferred;
    windowPages = handledPages;
  }

  synchronized MigrationInfo info(
      long nowNanos, Supplier<? extends @Nullable XbzrleCounters> xbzrle) {
    renewWindow(nowNanos);
    long endNanos = endedNanos >= 0 ? endedNanos : nowNanos;
    return new MigrationInfo(
        status,
        Duration.ofNanos(endNanos - beganNanos),
        Duration.ofNanos((firstRoundNanos >= 0 ? firstRoundNanos : endNanos) - beganNanos),
        downtime,
        expectedDowntime,
        downtimeLimit,
        throttlePercent,
        new RamStatistics(
            transferred,
            Math.max(0, dirtyBytes),
            totalBytes,
            zeroPages,
            rawPages,
            rawBytes,
            dirtyPagesRate,
            mbps,
            syncCount,
            pageSizeBytes,
            pagesPerSecond),
        convergence,
        xbzrle.get(),
        compressing
            ? new CompressionStatistics(batches, rawBatches, payloadBytes, storedBytes)
            : null,
        placement,
        postcopy(),
        tracker,
        rounds,
        steps,
        errorDesc);
  }
}
