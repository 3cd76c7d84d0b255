package io.pageflux.prediction;

import io.pageflux.migration.CompressionSpec;
import java.util.List;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * What a page with contents takes of the processors, in nanoseconds of one of them.
 *
 * @param encodeNanos to read it and to make a delta of it, which one thread does
 * @param compressNanos to compress it, which several do; 0 without compression
 * @param applyNanos to decompress it at the destination and to write it there
 * @param workers how many threads compress, at least 1
 * @param processors how many processors this machine has for it, which need not be a whole number:
 *     the guest and others need them, too
 */
public record CodecTimes(
    double encodeNanos, double compressNanos, double applyNanos, int workers, double processors) {

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one makes no sense
   */
  public CodecTimes {
    if (!(encodeNanos > 0) || !(compressNanos >= 0) || !(applyNanos >= 0)) {
      throw new IllegalArgumentException(
          "times above 0 required but they were %s, %s and %s ns"
              .formatted(encodeNanos, compressNanos, applyNanos));
    }
    if (workers < 1 || !(processors > 0)) {
      throw new IllegalArgumentException(
          "workers and processors above 0 required but there were %d and %s"
              .formatted(workers, processors));
    }
  }

  /**
   * {@return how many pages with contents pass in a second, when the link holds nothing up}
   *
   * <p>No thread passes more than it has time for, and all of them together no more than the
   * processors have.
   *
   * @param destinationHere whether the destination needs the same processors
   */
  public double pagesPerSecond(boolean destinationHere) {
    double busiest = Math.max(encodeNanos, compressNanos / workers);
    double all = encodeNanos + compressNanos + (destinationHere ? applyNanos : 0);
    return 1e9 / Math.max(busiest, all / processors);
  }

  /**
   * The median of the batches counts: the first ones load code and run it before it is compiled,
   * which took ten times as long as it did later, and others are held up by whatever else runs. A
   * migration has so many batches that neither matters.
   */
  static CodecTimes of(
      List<PageProbe.Count> batches, @Nullable CompressionSpec compression, double processors) {
    return new CodecTimes(
        Math.max(1, nanosPerPage(batches, count -> count.encodeNanos)),
        compression == null ? 0 : nanosPerPage(batches, count -> count.compressNanos),
        nanosPerPage(batches, count -> count.applyNanos),
        compression == null ? 1 : compression.workers(),
        processors);
  }

  private static double nanosPerPage(
      List<PageProbe.Count> batches, ToLongFunction<PageProbe.Count> nanos) {
    double[] sorted =
        batches.stream()
            .filter(count -> count.pages > count.zero)
            .mapToDouble(count -> (double) nanos.applyAsLong(count) / (count.pages - count.zero))
            .sorted()
            .toArray();
    // Without contents there is nothing to be held up by.
    return sorted.length == 0 ? 0 : sorted[sorted.length / 2];
  }
}
