package io.pageflux.memory;

import java.util.Arrays;
import java.util.function.LongConsumer;

/**
 * A set of pages of one block: a bitmap with a summary above it.
 *
 * <p>One bit per page, and one summary bit per 64 words, so that walking a sparse set reads one
 * word per 4,096 pages and then only the words that hold something: a clean set of a 1 TiB block
 * costs 64 Ki words. Memory: {@code pages / 8 * 65 / 64} bytes of heap.
 *
 * <p>Not safe for use by several threads at once.
 */
public final class PageSet {

  private final long pageCount;
  private final long[] words;
  // Bit i: words[i] may be other than zero. It is cleared only where the word is known to be zero.
  private final long[] summary;

  /**
   * Makes an empty set.
   *
   * @param pageCount the number of pages of the block
   * @throws IllegalArgumentException if it is negative or more than 2^37 - 64 (512 TiB of 4 KiB
   *     pages)
   */
  public PageSet(long pageCount) {
    if (pageCount < 0 || pageCount > ((long) Integer.MAX_VALUE << 6) - 64) {
      throw new IllegalArgumentException("no page set can hold " + pageCount + " pages");
    }
    this.pageCount = pageCount;
    this.words = new long[wordsFor(pageCount)];
    this.summary = new long[wordsFor(words.length)];
  }

  private static int wordsFor(long bits) {
    return (int) ((bits + 63) >>> 6);
  }

  /** {@return the number of pages of the block, set or not} */
  public long pageCount() {
    return pageCount;
  }

  private void check(long page) {
    if (page < 0 || page >= pageCount) {
      throw new IndexOutOfBoundsException("page " + page + " of a block of " + pageCount);
    }
  }

  /** {@return whether a page is in the set} */
  public boolean contains(long page) {
    check(page);
    return (words[(int) (page >>> 6)] & 1L << page) != 0;
  }

  /** Adds a page. {@return whether it was not in the set before} */
  public boolean add(long page) {
    check(page);
    int w = (int) (page >>> 6);
    long bit = 1L << page;
    boolean added = (words[w] & bit) == 0;
    words[w] |= bit;
    summary[w >>> 6] |= 1L << w;
    return added;
  }

  /** Removes a page. {@return whether it was in the set} */
  public boolean remove(long page) {
    check(page);
    int w = (int) (page >>> 6);
    long bit = 1L << page;
    boolean removed = (words[w] & bit) != 0;
    words[w] &= ~bit;
    return removed;
  }

  /**
   * Adds the pages from {@code from} to {@code to}, the latter not included.
   *
   * @return how many of them were not in the set before
   */
  public long addRange(long from, long to) {
    if (from < 0 || from > to || to > pageCount) {
      throw new IndexOutOfBoundsException(
          "pages " + from + " to " + to + " of a block of " + pageCount);
    }
    if (from == to) {
      return 0;
    }
    long added = 0;
    int first = (int) (from >>> 6);
    int last = (int) (to - 1 >>> 6);
    for (int w = first; w <= last; w++) {
      long mask = -1L;
      if (w == first) {
        mask &= -1L << from;
      }
      if (w == last) {
        mask &= -1L >>> -to;
      }
      added += Long.bitCount(mask & ~words[w]);
      words[w] |= mask;
      summary[w >>> 6] |= 1L << w;
    }
    return added;
  }

  /** Adds every page of the block. */
  public void addAll() {
    addRange(0, pageCount);
  }

  /**
   * Adds every page of another set of the same block.
   *
   * @return how many of them were not in this set before
   */
  public long addAll(PageSet other) {
    if (other.pageCount != pageCount) {
      throw new IllegalArgumentException(
          "sets of blocks of " + pageCount + " and " + other.pageCount + " pages");
    }
    long added = 0;
    for (int s = 0; s < summary.length; s++) {
      for (long rest = other.summary[s]; rest != 0; rest &= rest - 1) {
        int w = (s << 6) + Long.numberOfTrailingZeros(rest);
        added += Long.bitCount(other.words[w] & ~words[w]);
        words[w] |= other.words[w];
      }
      summary[s] |= other.summary[s];
    }
    return added;
  }

  /** Removes every page. */
  public void clear() {
    for (int s = 0; s < summary.length; s++) {
      if (summary[s] != 0) {
        Arrays.fill(words, s << 6, Math.min(words.length, s + 1 << 6), 0);
        summary[s] = 0;
      }
    }
  }

  /** {@return the number of pages in the set} */
  public long cardinality() {
    long n = 0;
    for (int s = 0; s < summary.length; s++) {
      for (long rest = summary[s]; rest != 0; rest &= rest - 1) {
        n += Long.bitCount(words[(s << 6) + Long.numberOfTrailingZeros(rest)]);
      }
    }
    return n;
  }

  /** {@return whether the set has no page} */
  public boolean isEmpty() {
    return nextSet(0) < 0;
  }

  /** {@return the first page of the set at or after {@code from}, or -1} */
  public long nextSet(long from) {
    if (from < 0) {
      throw new IndexOutOfBoundsException("page " + from);
    }
    if (from >= pageCount) {
      return -1;
    }
    int w = (int) (from >>> 6);
    long word = words[w] & -1L << from;
    if (word != 0) {
      return ((long) w << 6) + Long.numberOfTrailingZeros(word);
    }
    w++;
    if (w >= words.length) {
      return -1;
    }
    int s = w >>> 6;
    long rest = summary[s] & -1L << w;
    while (true) {
      while (rest != 0) {
        int candidate = (s << 6) + Long.numberOfTrailingZeros(rest);
        if (words[candidate] != 0) {
          return ((long) candidate << 6) + Long.numberOfTrailingZeros(words[candidate]);
        }
        rest &= rest - 1;
      }
      if (++s >= summary.length) {
        return -1;
      }
      rest = summary[s];
    }
  }

  /** {@return the first page at or after {@code from} that is not in the set, or the page count} */
  public long nextClear(long from) {
    if (from < 0) {
      throw new IndexOutOfBoundsException("page " + from);
    }
    if (from >= pageCount) {
      return pageCount;
    }
    int w = (int) (from >>> 6);
    long word = ~words[w] & -1L << from;
    while (word == 0) {
      if (++w == words.length) {
        return pageCount;
      }
      word = ~words[w];
    }
    return Math.min(pageCount, ((long) w << 6) + Long.numberOfTrailingZeros(word));
  }

  /** Takes runs of consecutive pages. */
  @FunctionalInterface
  public interface RunConsumer {
    /** Takes the pages from {@code from} to {@code to}, the latter not included. */
    void accept(long from, long to);
  }

  /** Hands out the pages of the set in ascending order, as runs that do not touch one another. */
  public void forEachRun(RunConsumer consumer) {
    for (long from = nextSet(0); from >= 0; ) {
      long to = nextClear(from);
      consumer.accept(from, to);
      from = nextSet(to);
    }
  }

  /**
   * Hands out some pages of the set in ascending order: its pages are counted through, and of each
   * stretch of them the first ones are taken. Costs what {@link #cardinality()} does, and what the
   * pages cost that are handed out.
   *
   * @param counted how many pages were counted before
   * @param stretch how many pages there are to a stretch, at least 1
   * @param first how many of each are handed out
   * @param consumer takes them one by one
   * @return how many pages were counted, with those before
   */
  public long forEachFirst(long counted, long stretch, long first, LongConsumer consumer) {
    long n = counted;
    for (int s = 0; s < summary.length; s++) {
      for (long rest = summary[s]; rest != 0; rest &= rest - 1) {
        int w = (s << 6) + Long.numberOfTrailingZeros(rest);
        int bits = Long.bitCount(words[w]);
        long at = n % stretch;
        if (at >= first && at + bits <= stretch) {
          n += bits;
          continue;
        }
        for (long word = words[w]; word != 0; word &= word - 1, n++) {
          if (n % stretch < first) {
            consumer.accept(((long) w << 6) + Long.numberOfTrailingZeros(word));
          }
        }
      }
    }
    return n;
  }

  @Override
  public String toString() {
    return cardinality() + " of " + pageCount + " pages";
  }
}
