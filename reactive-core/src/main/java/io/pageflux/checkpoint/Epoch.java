package io.pageflux.checkpoint;

import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** A round on its way, of the first copy or a checkpoint's, and what was counted of it. */
final class Epoch {

  /** The round's number; from 1. */
  final int round;

  /** The checkpoint's number, from 1; 0 for a round of the first copy. */
  final long number;

  /** How many pages the destination has of all rounds. Asked for with the end. */
  final Reply<Long> acknowledged = new Reply<>();

  final long dirtyPages;
  final long bytesBefore;
  long copiedBytes;
  boolean fitted;

  long beganNanos;
  long pausedNanos;
  long scannedNanos;
  long copiedNanos;
  long resumedNanos;

  private final List<WireRecord.DeviceState> deviceState = new ArrayList<>();
  long deviceStateBytes;

  private final long[] sent = new long[PageKind.values().length];

  Epoch(int round, long number, long dirtyPages, long bytesBefore) {
    this.round = round;
    this.number = number;
    this.dirtyPages = dirtyPages;
    this.bytesBefore = bytesBefore;
  }

  void count(PageBatch batch) {
    for (PageKind kind : PageKind.values()) {
      sent[kind.code()] += batch.count(kind);
    }
  }

  long sentPages() {
    return Arrays.stream(sent).sum();
  }

  void addDeviceState(byte[] state) {
    int max = WireLimits.MAX_DEVICE_STATE_PIECE_BYTES;
    for (int from = 0; from < state.length; from += max) {
      deviceState.add(
          new WireRecord.DeviceState(
              Arrays.copyOfRange(state, from, Math.min(state.length, from + max))));
    }
    deviceStateBytes += state.length;
  }

  List<WireRecord.DeviceState> deviceState() {
    return deviceState;
  }

  WireRecord begin() {
    return new WireRecord.RoundBegin(round, number > 0, dirtyPages);
  }

  WireRecord end() {
    return new WireRecord.RoundEnd(
        round, sent[PageKind.ZERO.code()], sent[PageKind.RAW.code()], sent[PageKind.DELTA.code()]);
  }

  /** The checkpoint now that it was acknowledged. */
  CheckpointReport report(long bytesWritten, long nowNanos) {
    return new CheckpointReport(
        number,
        Duration.ofNanos(resumedNanos - beganNanos),
        Duration.ofNanos(scannedNanos - pausedNanos),
        Duration.ofNanos(copiedNanos - scannedNanos),
        dirtyPages,
        copiedBytes,
        fitted,
        sent[PageKind.ZERO.code()],
        sent[PageKind.RAW.code()],
        sent[PageKind.DELTA.code()],
        bytesWritten - bytesBefore,
        deviceStateBytes,
        Duration.ofNanos(nowNanos - beganNanos));
  }
}
