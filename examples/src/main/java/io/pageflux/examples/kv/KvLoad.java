package io.pageflux.examples.kv;

/**
 * How a store is being written.
 *
 * @param bytesPerSecond 4,096 for each update; a page that is written twice counts twice; 0 for no
 *     updates
 * @param threads how many threads write, each to pages of its own
 */
public record KvLoad(long bytesPerSecond, int threads) {

  /** The most threads. */
  public static final int MAX_THREADS = 16;

  /**
   * Checks the numbers.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public KvLoad {
    if (bytesPerSecond < 0) {
      throw new IllegalArgumentException("a rate of " + bytesPerSecond + " bytes per second");
    }
    if (threads < 1 || threads > MAX_THREADS) {
      throw new IllegalArgumentException(
          "1 to " + MAX_THREADS + " threads required but it was " + threads);
    }
  }
}
