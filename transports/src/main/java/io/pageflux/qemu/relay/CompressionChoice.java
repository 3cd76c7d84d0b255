package io.pageflux.qemu.relay;

import java.util.ArrayDeque;
import org.jspecify.annotations.Nullable;

/**
 * Decides whether pages are worth compressing, by trying.
 *
 * <p>Where the link is faster than the processors compress, compression makes a migration slower.
 * Which of the two it is cannot be known beforehand: the relays share the processors with two
 * QEMUs, and the link with others. So the pages are sent in stretches, and each tells how fast its
 * pages came through to the destination's QEMU. Most are compressed; now and then a short one is
 * not, unless it is the link that limits the migration anyway. If that one came through clearly
 * faster, those after it are not compressed either, for as long as they are no slower than the
 * compressed ones were.
 *
 * <p>What trying costs is bounded: 1 MiB is sent as it is after 8 MiB, after another 64 MiB, and so
 * on, each time after eight times as much.
 *
 * <p><b>Threading:</b> for any thread; {@link #compress} and {@link #sent} see the same pages in
 * the same order.
 *
 * <p><b>Memory bound:</b> an entry of the heap for each batch between {@link #compress} and {@link
 * #sent}.
 */
final class CompressionChoice {

  private static final long FIRST_COMPRESSED_BYTES = 8 << 20;
  private static final int COMPRESSED_GROWTH = 8;
  private static final long TRIAL_BYTES = 1 << 20;
  private static final long FIRST_RAW_BYTES = 2 << 20;
  private static final long MOST_RAW_BYTES = 32 << 20;

  /** How much faster is clearly faster. A short stretch is measured badly. */
  private static final double CLEARLY = 1.15;

  /** Pages one after the other that are all compressed, or all not. */
  static final class Stretch {

    private final boolean compressed;
    private final boolean trial;
    private final long bytes;
    private long chosenBytes;
    private long arrivedBytes;
    private long sinceNanos;
    private long lastNanos;
    private boolean timed;

    private Stretch(boolean compressed, boolean trial, long bytes) {
      this.compressed = compressed;
      this.trial = trial;
      this.bytes = bytes;
    }

    /** Whether it is only sent to see how long it takes. */
    boolean isTrial() {
      return trial;
    }
  }

  // All guarded by this object's monitor.
  private final ArrayDeque<Stretch> chosen = new ArrayDeque<>();
  private Stretch current = new Stretch(true, false, FIRST_COMPRESSED_BYTES);
  private long compressedBytes = FIRST_COMPRESSED_BYTES;
  private long rawBytes = FIRST_RAW_BYTES;
  private @Nullable Stretch arriving;
  private double compressedRate;
  private boolean raw;

  /**
   * Decides about a batch that is to be sent next.
   *
   * @param bytes of its pages
   * @param linkLimits whether it is known that the link is what limits the migration
   * @return whether to compress it
   */
  synchronized boolean compress(long bytes, boolean linkLimits) {
    boolean outdated = !current.trial && current.compressed == raw;
    if (outdated || current.chosenBytes >= current.bytes) {
      current = next(linkLimits);
    }
    current.chosenBytes += bytes;
    chosen.add(current);
    return current.compressed;
  }

  private Stretch next(boolean linkLimits) {
    if (raw) {
      long bytes = rawBytes;
      rawBytes = Math.min(2 * rawBytes, MOST_RAW_BYTES);
      return new Stretch(false, false, bytes);
    }
    rawBytes = FIRST_RAW_BYTES;
    if (current.compressed && !linkLimits) {
      compressedBytes *= COMPRESSED_GROWTH;
      return new Stretch(false, true, TRIAL_BYTES);
    }
    return new Stretch(true, false, compressedBytes);
  }

  /** {@return whether pages are not compressed any more for now} */
  synchronized boolean isRaw() {
    return raw;
  }

  /** {@return what the batch belongs to that is being sent now} */
  synchronized Stretch sent() {
    return chosen.remove();
  }

  /** A batch has come through. */
  synchronized void arrived(Stretch stretch, long bytes, long nowNanos) {
    Stretch before = arriving;
    if (before != stretch) {
      arriving = stretch;
      if (before != null) {
        judge(before);
        // What it takes begins where the one before ends: it was not sent later.
        stretch.sinceNanos = before.lastNanos;
        stretch.timed = true;
      } else {
        stretch.sinceNanos = nowNanos;
        stretch.timed = true;
        stretch.lastNanos = nowNanos;
        return; // the first batch of all only starts the clock
      }
    }
    stretch.arrivedBytes += bytes;
    stretch.lastNanos = nowNanos;
  }

  private void judge(Stretch stretch) {
    long nanos = stretch.lastNanos - stretch.sinceNanos;
    if (!stretch.timed || stretch.arrivedBytes == 0) {
      return;
    }
    double rate = stretch.arrivedBytes / (double) Math.max(1, nanos);
    if (stretch.compressed) {
      compressedRate = rate;
    } else if (compressedRate > 0) {
      raw = rate > compressedRate * (stretch.trial ? CLEARLY : 1);
    }
  }
}
