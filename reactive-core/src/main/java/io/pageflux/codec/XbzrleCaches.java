package io.pageflux.codec;

import org.jspecify.annotations.Nullable;

/**
 * Keeps the memory of one cache for the next migration.
 *
 * <p>The page faults of a cache that is filled for the first time take longer than filling it: a
 * quarter of a second of a processor's time for 450 MB, which is a tenth of all that a relay and
 * two QEMUs need to move them. What is kept is memory only; no page is found in it.
 *
 * <p><b>Memory bound:</b> the largest cache that was given back and fits the last use, outside the
 * heap; while it is not used, the system may take its pages at any time ({@code MADV_FREE}), and
 * counts them as the process's until it does.
 *
 * <p><b>Threading:</b> for any thread.
 */
public final class XbzrleCaches implements AutoCloseable {

  private @Nullable XbzrleCache kept;
  private boolean closed;

  /** Keeps nothing yet. */
  public XbzrleCaches() {}

  /**
   * {@return an empty cache, which is to be given back}
   *
   * @throws IllegalArgumentException see {@link XbzrleCache}
   */
  XbzrleCache take(long capacityBytes, int pageSizeBytes) {
    XbzrleCache cache;
    synchronized (this) {
      cache = kept;
      kept = null;
    }
    if (cache != null) {
      if (cache.pageSizeBytes() == pageSizeBytes
          && cache.slots() == XbzrleCache.slots(capacityBytes, pageSizeBytes)) {
        return cache;
      }
      cache.close();
    }
    return new XbzrleCache(capacityBytes, pageSizeBytes);
  }

  /** Keeps a cache, or closes it if another one is kept already, or nothing is any more. */
  void giveBack(XbzrleCache cache) {
    synchronized (this) {
      if (!closed && kept == null) {
        cache.recycle();
        kept = cache;
        return;
      }
    }
    cache.close();
  }

  /** Gives the memory back. May be called again; what is given back later is closed at once. */
  @Override
  public void close() {
    XbzrleCache cache;
    synchronized (this) {
      closed = true;
      cache = kept;
      kept = null;
    }
    if (cache != null) {
      cache.close();
    }
  }
}
