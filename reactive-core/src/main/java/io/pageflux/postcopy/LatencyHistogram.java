package io.pageflux.postcopy;

import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;

/**
 * How long things took: counts in classes that are at most a sixteenth wide, from 1 ns to 2^63 ns.
 *
 * <p>Methods may be called from any thread. <b>Memory bound:</b> 8 KiB.
 */
public final class LatencyHistogram {

  private static final int SUB_BITS = 4;
  private static final int SUBS = 1 << SUB_BITS;
  private static final int CLASSES = (Long.SIZE - SUB_BITS) * SUBS;

  private final AtomicLongArray counts = new AtomicLongArray(CLASSES);
  private final AtomicLong most = new AtomicLong();

  /** Makes an empty one. */
  public LatencyHistogram() {}

  /** Counts one; what is below 0 counts as 0. */
  public void add(long nanos) {
    long n = Math.max(0, nanos);
    counts.incrementAndGet(classOf(n));
    most.accumulateAndGet(n, Math::max);
  }

  private static int classOf(long n) {
    if (n < SUBS) {
      return (int) n;
    }
    int exponent = Long.SIZE - 1 - Long.numberOfLeadingZeros(n);
    int sub = (int) (n >>> exponent - SUB_BITS) & SUBS - 1;
    return (exponent - SUB_BITS + 1) * SUBS + sub;
  }

  /** The largest value of a class. */
  private static long upperBound(int index) {
    if (index < SUBS) {
      return index;
    }
    int shift = index / SUBS - 1;
    return ((long) (SUBS + index % SUBS + 1) << shift) - 1;
  }

  /** {@return how many were counted} */
  public long count() {
    long n = 0;
    for (int i = 0; i < CLASSES; i++) {
      n += counts.get(i);
    }
    return n;
  }

  /**
   * {@return what a part of them did not exceed; zero if none was counted} At most a sixteenth more
   * than it was.
   *
   * @param part 0 to 1
   */
  public Duration quantile(double part) {
    if (!(part >= 0 && part <= 1)) {
      throw new IllegalArgumentException("a quantile is 0 to 1, but it was " + part);
    }
    long wanted = Math.max(1, (long) Math.ceil(part * count()));
    long seen = 0;
    for (int i = 0; i < CLASSES; i++) {
      seen += counts.get(i);
      if (seen >= wanted) {
        return Duration.ofNanos(Math.min(upperBound(i), most.get()));
      }
    }
    return Duration.ZERO;
  }

  /** {@return the longest; zero if none was counted} */
  public Duration max() {
    return Duration.ofNanos(most.get());
  }

  /** {@return count, median, 99th percentile and maximum as they are now} */
  public Summary summary() {
    return new Summary(count(), quantile(0.5), quantile(0.99), max());
  }

  /**
   * A histogram in a few figures.
   *
   * @param count how many
   * @param median what half of them did not exceed
   * @param p99 what 99 of 100 did not exceed
   * @param max the longest
   */
  public record Summary(long count, Duration median, Duration p99, Duration max) {

    /** Of nothing. */
    public static final Summary EMPTY = new Summary(0, Duration.ZERO, Duration.ZERO, Duration.ZERO);
  }
}
