package io.pageflux.codec;

/**
 * How XBZRLE is to be used.
 *
 * @param cacheBytes how many bytes of pages the cache may hold, rounded down to a power of two of
 *     pages; QEMU's {@code xbzrle-cache-size}
 * @param fillInFirstRound whether the first round, in which there is nothing to compare with yet,
 *     puts what it sends into the cache, so that the second round finds it. QEMU does not, and so
 *     sends its second round raw.
 */
public record XbzrleSpec(long cacheBytes, boolean fillInFirstRound) {

  /** A cache of 64 MiB as in QEMU, filled from the first round on. */
  public static final XbzrleSpec DEFAULT = new XbzrleSpec(64L << 20, true);

  /**
   * Checks the size.
   *
   * @throws IllegalArgumentException if it is not positive
   */
  public XbzrleSpec {
    if (cacheBytes <= 0) {
      throw new IllegalArgumentException("cacheBytes > 0 required but it was " + cacheBytes);
    }
  }

  /** {@return the same with another size of the cache in bytes} */
  public XbzrleSpec withCacheBytes(long bytes) {
    return new XbzrleSpec(bytes, fillInFirstRound);
  }

  /** {@return the same with another use of the first round} */
  public XbzrleSpec withFillInFirstRound(boolean fill) {
    return new XbzrleSpec(cacheBytes, fill);
  }
}
