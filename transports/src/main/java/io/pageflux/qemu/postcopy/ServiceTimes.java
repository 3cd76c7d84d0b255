package io.pageflux.qemu.postcopy;

import java.util.Arrays;

/**
 * How long things took: counts in buckets that are an eighth of their value wide, so what is read
 * from it is at most 12.5 % too much.
 *
 * <p>Immutable snapshots come from {@link Recorder}.
 */
public final class ServiceTimes {

  private static final int SUB_BITS = 3;
  private static final int BUCKETS = 64 << SUB_BITS;

  /** Nothing recorded. */
  public static final ServiceTimes NONE = new ServiceTimes(new long[BUCKETS], 0, 0, 0);

  private final long[] counts;
  private final long total;
  private final long sumNanos;
  private final long maxNanos;

  private ServiceTimes(long[] counts, long total, long sumNanos, long maxNanos) {
    this.counts = counts;
    this.total = total;
    this.sumNanos = sumNanos;
    this.maxNanos = maxNanos;
  }

  /** Takes times; from any thread. Memory: 4 KiB. */
  static final class Recorder {

    private final long[] counts = new long[BUCKETS];
    private long total;
    private long sumNanos;
    private long maxNanos;

    synchronized void record(long nanos) {
      long value = Math.max(nanos, 0);
      counts[bucket(value)]++;
      total++;
      sumNanos += value;
      maxNanos = Math.max(maxNanos, value);
    }

    synchronized ServiceTimes times() {
      return new ServiceTimes(counts.clone(), total, sumNanos, maxNanos);
    }
  }

  private static int bucket(long nanos) {
    if (nanos < 1 << SUB_BITS) {
      return (int) nanos;
    }
    int high = 63 - Long.numberOfLeadingZeros(nanos);
    int sub = (int) (nanos >>> high - SUB_BITS) & (1 << SUB_BITS) - 1;
    return (high - SUB_BITS + 1 << SUB_BITS) + sub;
  }

  private static long upperEnd(int bucket) {
    if (bucket < 1 << SUB_BITS) {
      return bucket;
    }
    int shift = (bucket >> SUB_BITS) - 1;
    long low = (long) ((1 << SUB_BITS) + (bucket & (1 << SUB_BITS) - 1)) << shift;
    return low + (1L << shift) - 1;
  }

  /** {@return how many times there are} */
  public long count() {
    return total;
  }

  /** {@return the longest, in nanoseconds} */
  public long maxNanos() {
    return maxNanos;
  }

  /** {@return the mean, in nanoseconds; 0 if there is none} */
  public long meanNanos() {
    return total == 0 ? 0 : sumNanos / total;
  }

  /**
   * {@return a time in nanoseconds that so much of all are not above; 0 if there is none}
   *
   * @param share 0 to 1: 0.5 for the median
   */
  public long quantileNanos(double share) {
    if (!(share >= 0 && share <= 1)) {
      throw new IllegalArgumentException("a share of 0 to 1 required but it was " + share);
    }
    long rank = Math.max(1, (long) Math.ceil(share * total));
    long seen = 0;
    for (int i = 0; i < counts.length; i++) {
      seen += counts[i];
      if (seen >= rank) {
        return Math.min(upperEnd(i), maxNanos);
      }
    }
    return 0;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof ServiceTimes times
        && sumNanos == times.sumNanos
        && Arrays.equals(counts, times.counts);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(counts);
  }

  @Override
  public String toString() {
    return "%d times: median %.0f us, 99%% within %.0f us, longest %.0f us"
        .formatted(total, quantileNanos(0.5) / 1e3, quantileNanos(0.99) / 1e3, maxNanos / 1e3);
  }
}
