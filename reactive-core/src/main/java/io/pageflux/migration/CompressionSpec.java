package io.pageflux.migration;

import com.github.luben.zstd.Zstd;

/**
 * How page contents are compressed.
 *
 * @param level zstd's level, negative ones (fast) included
 * @param workers threads that compress, 1 to 64
 */
public record CompressionSpec(int level, int workers) {

  /** The most threads. */
  public static final int MAX_WORKERS = 64;

  /** Level 1 in two threads. */
  public static final CompressionSpec DEFAULT = new CompressionSpec(1, 2);

  /**
   * Checks the numbers.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public CompressionSpec {
    if (level < Zstd.minCompressionLevel() || level > Zstd.maxCompressionLevel()) {
      throw new IllegalArgumentException(
          "zstd has levels from %d to %d, but %d was asked for"
              .formatted(Zstd.minCompressionLevel(), Zstd.maxCompressionLevel(), level));
    }
    if (workers < 1 || workers > MAX_WORKERS) {
      throw new IllegalArgumentException(
          "1 to %d workers required but it was %d".formatted(MAX_WORKERS, workers));
    }
  }
}
