package io.pageflux.prediction;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.page.BatchGeometry;
import java.time.Duration;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * How a guest is watched.
 *
 * @param memory its memory
 * @param tracker makes what sees its writes; closed at the end
 * @param xbzrle the delta cache that a migration would have; null for none
 * @param compression what a migration would compress with; null for none
 * @param geometry the batches of a migration
 * @param duration how long, 1 s to 1 h
 * @param sampleBytes how many bytes of pages are copied to see how they change
 * @param seed of the random choice of these pages
 */
public record ObservationSpec(
    GuestMemory memory,
    Function<GuestMemory, DirtyTracker> tracker,
    @Nullable XbzrleSpec xbzrle,
    @Nullable CompressionSpec compression,
    BatchGeometry geometry,
    Duration duration,
    long sampleBytes,
    long seed) {

  /** 16 MiB. */
  public static final long DEFAULT_SAMPLE_BYTES = 16 << 20;

  private static final Duration SHORTEST = Duration.ofSeconds(1);
  private static final Duration LONGEST = Duration.ofHours(1);

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public ObservationSpec {
    if (duration.compareTo(SHORTEST) < 0 || duration.compareTo(LONGEST) > 0) {
      throw new IllegalArgumentException("1 s to 1 h required but the duration was " + duration);
    }
    if (sampleBytes < 2L * memory.layout().largestPageSizeBytes() || sampleBytes > 1 << 30) {
      throw new IllegalArgumentException(
          "a sample of 2 pages to 1 GiB required but it was " + sampleBytes + " bytes");
    }
  }

  /** {@return the way to watch the guest of a migration, with what that would use} */
  public static ObservationSpec of(OutgoingSpec spec, Duration duration) {
    return new ObservationSpec(
        spec.memory(),
        spec.tracker(),
        spec.xbzrle(),
        spec.compression(),
        spec.geometry(),
        duration,
        Math.max(DEFAULT_SAMPLE_BYTES, 2L * spec.memory().layout().largestPageSizeBytes()),
        1);
  }
}
