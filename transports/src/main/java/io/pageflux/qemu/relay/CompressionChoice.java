package io.pageflux.qemu.relay;

import java.util.ArrayDeque;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Decides whether pages are worth compressing, by trying.
 *
 * <p>Where the link is faster than the processors compress, compression makes a migration slower.
 * Which of the two it is cannot be known beforehand: the relays share the processors with two
 * QEMUs, and the link with others. So the pages are sent in stretches, and each tells how fast its
 * pages came through to the destination's QEMU. Most are compressed. Now and then there is a trial,
 * unless it is the link that limits the migration anyway: {@link #PROBES} batches are sent as they
 * are, each among compressed ones. How long after the one before it such a batch comes through
 * shows what link and destination take for it, for it was ready before; the median counts, since
 * what is heard of single batches comes late, or together. If that is clearly faster than what the
 * compressed ones came to, the stretches after it are not compressed either, for as long as they
 * are clearly faster themselves.
 *
 * <p>What trying costs is bounded: so many batches after 8 MiB, after another 128 MiB, and so on,
 * each time after sixteen times as much.
 *
 * <p><b>Threading:</b> for any thread; {@link #compress} and {@link #sent} see the same batches in
 * the same order.
 *
 * <p><b>Memory bound:</b> an entry of the heap for each batch between {@link #compress} and {@link
 * #sent}.
 */
final class CompressionChoice {

  /** Batches that are sent as they are in a trial. */
  static final int PROBES = 4;

  private static final int BATCHES_PER_PROBE = 4;
  private static final long FIRST_COMPRESSED_BYTES = 8 << 20;
  private static final int COMPRESSED_GROWTH = 16;
  private static final long FIRST_RAW_BYTES = 2 << 20;
  private static final long MOST_RAW_BYTES = 32 << 20;

  /** How much faster single batches have to be: a queue on the way lets them by at any speed. */
  private static final double TRIED = 1.7;

  /** How much faster whole stretches have to be to be worth the bytes. */
  private static final double SUSTAINED = 1.15;

  /** What is done with a batch. */
  record Choice(Stretch stretch, boolean compressed) {

    /** Whether it is only sent as it is to see how long it takes. */
    boolean isProbe() {
      return stretch.trial && !compressed;
    }
  }

  /** Batches one after the other that are treated alike. */
  private static final class Stretch {

    private final boolean raw;
    private final boolean trial;
    private final long bytes;
    private int batches;
    private long chosenBytes;
    private long arrivedBytes;
    private long sinceNanos;
    private final double[] probes = new double[PROBES];
    private int probed;

    Stretch(boolean raw, boolean trial, long bytes) {
      this.raw = raw;
      this.trial = trial;
      this.bytes = bytes;
    }

    boolean isFull() {
      return trial ? batches >= PROBES * BATCHES_PER_PROBE : chosenBytes >= bytes;
    }

    Choice next(long batchBytes) {
      boolean compressed = trial ? batches % BATCHES_PER_PROBE > 0 : !raw;
      batches++;
      chosenBytes += batchBytes;
      return new Choice(this, compressed);
    }
  }

  // All guarded by this object's monitor.
  private final ArrayDeque<Choice> chosen = new ArrayDeque<>();
  private Stretch current = new Stretch(false, false, FIRST_COMPRESSED_BYTES);
  private long compressedBytes = FIRST_COMPRESSED_BYTES;
  private long rawBytes = FIRST_RAW_BYTES;
  private @Nullable Stretch arriving;
  private long arrivedNanos;
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
    boolean outdated = !current.trial && current.raw != raw;
    if (outdated || current.isFull()) {
      current = next(linkLimits);
    }
    Choice choice = current.next(bytes);
    chosen.add(choice);
    return choice.compressed;
  }

  private Stretch next(boolean linkLimits) {
    if (raw) {
      long bytes = rawBytes;
      rawBytes = Math.min(2 * rawBytes, MOST_RAW_BYTES);
      return new Stretch(true, false, bytes);
    }
    rawBytes = FIRST_RAW_BYTES;
    if (!current.trial && !current.raw && !linkLimits) {
      compressedBytes *= COMPRESSED_GROWTH;
      return new Stretch(false, true, 0);
    }
    return new Stretch(false, false, compressedBytes);
  }

  /** {@return whether pages are not compressed any more for now} */
  synchronized boolean isRaw() {
    return raw;
  }

  /** {@return what was decided about the batch that is being sent now} */
  synchronized Choice sent() {
    return chosen.remove();
  }

  /** A batch has come through. */
  synchronized void arrived(Choice choice, long bytes, long nowNanos) {
    Stretch stretch = choice.stretch;
    Stretch before = arriving;
    if (before == null) { // the first batch of all only starts the clock
      arriving = stretch;
      stretch.sinceNanos = nowNanos;
      arrivedNanos = nowNanos;
      return;
    }
    if (before != stretch) {
      judge(before);
      arriving = stretch;
      // What it takes begins where the one before ends: it was not sent later.
      stretch.sinceNanos = arrivedNanos;
    }
    stretch.arrivedBytes += bytes;
    if (choice.isProbe()) {
      stretch.probes[stretch.probed++] = rate(bytes, nowNanos - arrivedNanos);
    }
    arrivedNanos = nowNanos;
  }

  private static double rate(long bytes, long nanos) {
    return bytes / (double) Math.max(1, nanos);
  }

  /** A stretch has come through as a whole. */
  private void judge(Stretch stretch) {
    if (stretch.trial && stretch.probed == PROBES) {
      Arrays.sort(stretch.probes);
      double middle = stretch.probes[(PROBES - 1) / 2] + stretch.probes[PROBES / 2];
      raw = isFaster(middle / 2, TRIED);
    } else if (!stretch.trial && stretch.arrivedBytes > 0) {
      double rate = rate(stretch.arrivedBytes, arrivedNanos - stretch.sinceNanos);
      if (stretch.raw) {
        raw = isFaster(rate, SUSTAINED);
      } else {
        compressedRate = rate;
      }
    }
  }

  private boolean isFaster(double rate, double times) {
    return compressedRate > 0 && rate > times * compressedRate;
  }
}
