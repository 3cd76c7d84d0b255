package io.pageflux.prediction;

import io.pageflux.migration.CompressionSpec;
import java.util.List;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;

/**
 * How fast pages with contents are read and encoded, by the time that batches took.
 *
 * <p>The median of the batches counts: the first ones load code and run it before it is compiled,
 * which took ten times as long as it did later, and others are held up by whatever else runs. A
 * migration has so many batches that neither matters.
 */
final class CodecSpeed {

  private CodecSpeed() {}

  /** {@return pages in a second: one thread reads and makes deltas, others compress meanwhile} */
  static double pagesPerSecond(
      List<PageProbe.Count> batches, @Nullable CompressionSpec compression) {
    double encode = nanosPerPage(batches, count -> count.encodeNanos);
    if (compression == null) {
      return 1e9 / encode;
    }
    int workers = Math.min(compression.workers(), Runtime.getRuntime().availableProcessors());
    return 1e9 / Math.max(encode, nanosPerPage(batches, count -> count.compressNanos) / workers);
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
    return sorted.length == 0 ? 1 : Math.max(1, sorted[sorted.length / 2]);
  }
}
