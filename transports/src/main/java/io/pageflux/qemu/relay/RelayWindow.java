package io.pageflux.qemu.relay;

import io.pageflux.qemu.stream.QemuStreamReader;
import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * How many bytes may be under way between the two relays: enough to keep the link busy, and not
 * much more.
 *
 * <p>The destination's relay says how many records it has passed on to its QEMU. From when each was
 * sent follows how long it took. The least time seen is what the way takes when nothing waits on
 * it; what a record took beyond that, it waited for others. If that is less than {@link
 * #TARGET_QUEUE_NANOS} while the window is full, the window was too small for the link, and grows;
 * if it is more, it shrinks. (The idea is that of delay-based congestion control, RFC 6817: what is
 * measured here includes the relays' own work and the reading of the destination's QEMU, for those
 * bytes are under way too.)
 *
 * <p><b>Threading:</b> for any thread.
 *
 * <p><b>Memory bound:</b> an entry of the heap for each record under way, which the pool of slabs
 * bounds for pages, and the window for the rest.
 */
final class RelayWindow {

  /** How long bytes may wait for one another on the way: 20 ms. */
  static final long TARGET_QUEUE_NANOS = 20_000_000;

  /** Below this a window would stop a fast link from being busy at all. */
  static final long LEAST_BYTES = 256 << 10;

  /** In post-copy: one batch, and another one that is read meanwhile. */
  static final long LEAST_POSTCOPY_BYTES = QemuStreamReader.POSTCOPY_BATCH_BYTES;

  /** How long they may wait in post-copy, in which somebody may wait for each page: 1 ms. */
  static final long TARGET_POSTCOPY_QUEUE_NANOS = 1_000_000;

  /** The most that a window may grow to: a link of 10 Gbit/s over 50 ms. */
  static final long MOST_BYTES = 64L << 20;

  /** For how long the least time is believed: a way may become longer. */
  private static final long LEAST_DELAY_AGE_NANOS = 10_000_000_000L;

  /** Over which time it is judged whether the window holds the sender back. */
  private static final long JUDGED_NANOS = 250_000_000;

  private record Sent(long bytes, long nanos, boolean whenFull) {}

  // All guarded by this object's monitor.
  private final ArrayDeque<Sent> underWay = new ArrayDeque<>();
  private long bytesUnderWay;
  private long passedOn;
  private double windowBytes;
  private long leastBytes = LEAST_BYTES;
  private long mostBytes = MOST_BYTES;
  private long targetQueueNanos = TARGET_QUEUE_NANOS;
  private long leastDelayNanos = Long.MAX_VALUE;
  private long leastDelayAtNanos;
  private Sinks.@Nullable Empty<Void> room;
  private long fullSinceNanos;
  private long heldBackNanos;
  private long judgedAtNanos;
  private boolean judged;
  private double heldBackShare;

  RelayWindow() {
    this.windowBytes = LEAST_BYTES;
  }

  /**
   * Counts a record that is being sent.
   *
   * @return completes when another one may be sent; null if that is now
   */
  synchronized @Nullable Mono<Void> sent(long bytes, long nowNanos) {
    judge(nowNanos);
    bytesUnderWay += bytes;
    boolean full = bytesUnderWay >= windowBytes;
    underWay.add(new Sent(bytes, nowNanos, full));
    if (!full) {
      return null;
    }
    Sinks.Empty<Void> waiting = Sinks.empty();
    room = waiting;
    fullSinceNanos = nowNanos;
    return waiting.asMono();
  }

  private void judge(long nowNanos) {
    long nanos = judged ? nowNanos - judgedAtNanos : 0;
    if (nanos > 0) {
      double share = Math.clamp((double) heldBackNanos / nanos, 0.0, 1.0);
      heldBackShare += (share - heldBackShare) * Math.min(1, (double) nanos / JUDGED_NANOS);
      heldBackNanos = 0;
    }
    if (nanos > 0 || !judged) {
      judgedAtNanos = nowNanos;
      judged = true;
    }
  }

  /**
   * {@return for which share of the time the sender has lately been waiting for room: if most of
   * it, it is the link, or the destination, that limits the migration, and not the sender's
   * processors}
   */
  synchronized double heldBackShare() {
    return heldBackShare;
  }

  /**
   * Says how many records have been passed on so far.
   *
   * @return whether there can be so many: false if that is more than were sent, or less than before
   */
  boolean passedOn(long records, long nowNanos) {
    Sinks.Empty<Void> waiting = null;
    synchronized (this) {
      if (records < passedOn || records - passedOn > underWay.size()) {
        return false;
      }
      while (passedOn < records) {
        Sent sent = underWay.remove();
        passedOn++;
        bytesUnderWay -= sent.bytes;
        learn(sent, nowNanos);
      }
      if (room != null && bytesUnderWay < windowBytes) {
        waiting = room;
        room = null;
        heldBackNanos += nowNanos - fullSinceNanos;
      }
    }
    if (waiting != null) { // outside of the monitor: this sends
      waiting.tryEmitEmpty();
    }
    return true;
  }

  private void learn(Sent sent, long nowNanos) {
    long delay = nowNanos - sent.nanos;
    if (delay <= leastDelayNanos || nowNanos - leastDelayAtNanos > LEAST_DELAY_AGE_NANOS) {
      leastDelayNanos = delay;
      leastDelayAtNanos = nowNanos;
    }
    double queue = delay - leastDelayNanos;
    double gain = Math.clamp((targetQueueNanos - queue) / targetQueueNanos, -1.0, 1.0);
    if (gain > 0 && !sent.whenFull) {
      return; // the sender had nothing to send: that says nothing about the window
    }
    // A window's worth of records doubles or halves it at the most.
    windowBytes =
        Math.clamp(windowBytes + gain * sent.bytes * (gain > 0 ? 1 : 0.5), leastBytes, mostBytes);
  }

  /**
   * Makes the window as small as it may be in post-copy, and lets it grow to no more than the least
   * one before it, and only while hardly anything waits: what is under way cannot be overtaken by
   * what somebody waits for.
   */
  synchronized void keepSmall() {
    leastBytes = LEAST_POSTCOPY_BYTES;
    mostBytes = LEAST_BYTES;
    windowBytes = leastBytes;
    targetQueueNanos = TARGET_POSTCOPY_QUEUE_NANOS;
  }

  /** {@return the bytes that may be under way now} */
  synchronized long windowBytes() {
    return (long) windowBytes;
  }

  /** {@return the bytes that are under way} */
  synchronized long bytesUnderWay() {
    return bytesUnderWay;
  }
}
