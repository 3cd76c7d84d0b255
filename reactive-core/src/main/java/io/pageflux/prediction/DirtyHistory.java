package io.pageflux.prediction;

import io.pageflux.memory.MemoryPages;
import java.util.Arrays;

/**
 * In which periods pages were dirty.
 *
 * <p>Kept are at most {@value #MOST_PAGES} pages: of all that were ever dirty those whose hash ends
 * in so many zero bits, and one more each time they become too many (adaptive sampling, Wegman
 * 1984; analysed by Flajolet 1990). So any memory is watched in the same space: 16 MiB of heap at
 * the most, and 3 MiB while the curve is made.
 *
 * <p>Not thread-safe.
 */
final class DirtyHistory {

  static final int MOST_PERIODS = 256;
  static final int MOST_PAGES = 1 << 17;
  private static final int WORDS = MOST_PERIODS / Long.SIZE;
  private static final int SLOTS = 2 * MOST_PAGES;

  private final int mostPages;
  private long[] keys = new long[1 << 10]; // page + 1; 0 is free
  private long[] bits = new long[WORDS << 10];
  private int size;
  private int level;
  private int periods;

  DirtyHistory() {
    this(MOST_PAGES);
  }

  DirtyHistory(int mostPages) {
    this.mostPages = mostPages;
  }

  int periods() {
    return periods;
  }

  boolean isFull() {
    return periods == MOST_PERIODS;
  }

  /** Learns what was dirty in the next period. */
  void add(MemoryPages dirty) {
    if (isFull()) {
      throw new IllegalStateException(MOST_PERIODS + " periods are all there is room for");
    }
    long first = 0;
    for (int b = 0; b < dirty.layout().blocks().size(); b++) {
      long base = first;
      dirty
          .of(b)
          .forEachRun(
              (from, to) -> {
                for (long page = from; page < to; page++) {
                  add(base + page);
                }
              });
      first += dirty.of(b).pageCount();
    }
    periods++;
  }

  private void add(long page) {
    long hash = hash(page);
    if (!isKept(hash)) {
      return;
    }
    int slot = slot(keys, page, hash);
    if (keys[slot] == 0) {
      while (size >= mostPages) {
        level++;
        rebuild(keys.length);
      }
      if (!isKept(hash)) {
        return;
      }
      if (size >= keys.length / 2 && keys.length < SLOTS) {
        rebuild(2 * keys.length);
      }
      slot = slot(keys, page, hash);
      keys[slot] = page + 1;
      size++;
    }
    bits[slot * WORDS + periods / Long.SIZE] |= 1L << periods % Long.SIZE;
  }

  private boolean isKept(long hash) {
    return level == 0 || hash >>> (Long.SIZE - level) == 0;
  }

  private void rebuild(int slots) {
    long[] oldKeys = keys;
    long[] oldBits = bits;
    keys = new long[slots];
    bits = new long[slots * WORDS];
    size = 0;
    for (int i = 0; i < oldKeys.length; i++) {
      if (oldKeys[i] != 0) {
        long page = oldKeys[i] - 1;
        long hash = hash(page);
        if (isKept(hash)) {
          int slot = slot(keys, page, hash);
          keys[slot] = oldKeys[i];
          System.arraycopy(oldBits, i * WORDS, bits, slot * WORDS, WORDS);
          size++;
        }
      }
    }
  }

  private static int slot(long[] keys, long page, long hash) {
    int slot = (int) hash & keys.length - 1;
    while (keys[slot] != 0 && keys[slot] != page + 1) {
      slot = slot + 1 & keys.length - 1;
    }
    return slot;
  }

  /** The finalizer of SplitMix64. */
  private static long hash(long x) {
    long z = x + 0x9e3779b97f4a7c15L;
    z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
    z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
    return z ^ z >>> 31;
  }

  /**
   * {@return the curve of what was seen}
   *
   * @param periodSeconds how long a period was
   * @param totalPages how many pages there are
   */
  ObservedCurve curve(double periodSeconds, long totalPages) {
    int n = periods;
    // New in the k-th period of the window that begins at i; then summed up over k.
    int[][] counts = new int[n][n + 1];
    long once = 0;
    long twice = 0;
    int[] next = new int[n];
    for (int slot = 0; slot < keys.length; slot++) {
      if (keys[slot] == 0) {
        continue;
      }
      int seen = 0;
      int at = Integer.MAX_VALUE;
      // Backwards and twice around, for a window that goes beyond the end goes on at the start.
      for (int i = 2 * n - 1; i >= 0; i--) {
        int p = i % n;
        if ((bits[slot * WORDS + p / Long.SIZE] >>> p % Long.SIZE & 1) != 0) {
          at = i;
          seen += i < n ? 1 : 0;
        }
        if (i < n) {
          next[i] = at - i;
        }
      }
      if (seen == 0) {
        continue;
      }
      for (int i = 0; i < n; i++) {
        counts[i][next[i] + 1]++;
      }
      once += seen == 1 ? 1 : 0;
      twice += seen == 2 ? 1 : 0;
    }
    double scale = Math.scalb(1.0, level);
    double[][] pages = new double[n][n + 1];
    for (int i = 0; i < n; i++) {
      long sum = 0;
      for (int k = 0; k <= n; k++) {
        sum += counts[i][k];
        pages[i][k] = Math.min(sum * scale, totalPages);
      }
    }
    return new ObservedCurve(pages, periodSeconds, once * scale, twice * scale, totalPages);
  }

  @Override
  public String toString() {
    return "DirtyHistory[%d periods, %d pages of 1 in %d, %d bytes]"
        .formatted(periods, size, 1L << level, 8L * (keys.length + bits.length))
        .concat(Arrays.toString(new int[] {mostPages}));
  }
}
