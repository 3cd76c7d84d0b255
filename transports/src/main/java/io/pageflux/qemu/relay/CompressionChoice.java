package io.pageflux.qemu.relay;

import java.util.OptionalLong;

/**
 * Decides whether pages are worth compressing: not while the link would carry them as they are.
 *
 * <p>Compression makes a migration faster only where the link is what limits it. How busy a link is
 * follows from for how long there was anything on it that the peer's system had not confirmed, and
 * how busy it would be with pages as they are, from how much compression saves. If that leaves half
 * of it free, pages are not compressed, until the link is busy nearly all of the time: then they
 * are again, and it is not tried again for a while, each time for longer.
 *
 * <p>Where nobody says how busy the link is, everything is compressed. And what is said is right
 * only while there are processors to spare: a peer that confirms late makes a link look busy, and
 * one that is shaped by a bucket of tokens looks free while both sides are slow.
 *
 * <p>So this is not the default. Measured with a guest of 450 MB, with two processors that were
 * busy besides: over 1 Gbit/s 165 to 176 MB instead of 157, over 200 Mbit/s 160 to 163 MB instead
 * of 154, and over a link that was not shaped 2.4 to 5.2 s instead of 3.1 to 4.1 s. With a {@link
 * #ROOM} of 0.2 it was much the same: what costs are the trials.
 *
 * <p><b>Threading:</b> for any thread.
 */
final class CompressionChoice {

  /** Below this share of the time that raw pages would need, they are sent as they are. */
  static final double ROOM = 0.5;

  /** Above this share of the time the link limits the migration. */
  static final double BUSY = 0.8;

  /** The system counts in steps of 4 ms: ten of them are judged at a time. */
  static final long PERIOD_NANOS = 40_000_000;

  /** As little as can be judged, since it may turn out to have been three times too much. */
  static final long RAW_PERIOD_NANOS = 20_000_000;

  private static final long PERIOD_BYTES = 4 << 20;
  private static final long RAW_PERIOD_BYTES = 2 << 20;
  static final long FIRST_PAUSE_NANOS = 500_000_000;
  static final long LONGEST_PAUSE_NANOS = 16_000_000_000L;

  // All guarded by this object's monitor.
  private boolean raw;
  private boolean begun;
  private long sinceNanos;
  private long sinceBusyNanos;
  private long sinceWireBytes;
  private long pageBytes;
  private boolean paused;
  private long pausedNanos;
  private long pauseNanos = FIRST_PAUSE_NANOS;

  /**
   * Decides about a batch that is to be sent next.
   *
   * @param bytes of its pages
   * @param wireBytes how much was sent so far
   * @param busyNanos for how long the link was busy so far, if that is known
   * @return whether to compress it
   */
  synchronized boolean compress(long bytes, long wireBytes, OptionalLong busyNanos, long nowNanos) {
    if (busyNanos.isEmpty()) {
      raw = false;
      begun = false;
      return true;
    }
    if (!begun) {
      begin(wireBytes, busyNanos.getAsLong(), nowNanos);
    }
    long nanos = nowNanos - sinceNanos;
    if (nanos >= (raw ? RAW_PERIOD_NANOS : PERIOD_NANOS)
        && pageBytes >= (raw ? RAW_PERIOD_BYTES : PERIOD_BYTES)) {
      double busy = (double) (busyNanos.getAsLong() - sinceBusyNanos) / nanos;
      if (raw) {
        judgeRaw(busy, nowNanos);
      } else {
        judgeCompressed(busy, wireBytes - sinceWireBytes, nowNanos);
      }
      begin(wireBytes, busyNanos.getAsLong(), nowNanos);
    }
    pageBytes += bytes;
    return !raw;
  }

  private void begin(long wireBytes, long busyNanos, long nowNanos) {
    begun = true;
    sinceNanos = nowNanos;
    sinceBusyNanos = busyNanos;
    sinceWireBytes = wireBytes;
    pageBytes = 0;
  }

  private void judgeRaw(double busy, long nowNanos) {
    if (busy > BUSY) {
      raw = false;
      paused = true;
      pausedNanos = nowNanos;
      pauseNanos = Math.min(2 * pauseNanos, LONGEST_PAUSE_NANOS);
    }
  }

  private void judgeCompressed(double busy, long wireBytes, long nowNanos) {
    if (paused && nowNanos - pausedNanos < pauseNanos) {
      return;
    }
    raw = busy * pageBytes < ROOM * wireBytes;
  }

  /** {@return whether pages are sent as they are for now} */
  synchronized boolean isRaw() {
    return raw;
  }
}
