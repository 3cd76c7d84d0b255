package io.pageflux.postcopy;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Which pages of a memory are there, for any number of threads at once and without a lock.
 *
 * <pre>
 *              ask                claim
 *   ABSENT -----------> REQUESTED -------> ARRIVING -----> PRESENT
 *    | ^                                    ^  |   arrived
 *    | +------------------------------------|--+ unclaim
 *    +--------------------------------------+
 *                      claim
 * </pre>
 *
 * <p>Who claims a page may write its bytes, and nobody else: of the source's copy and a guest's own
 * write of the whole page one wins, and the other finds the page claimed. What was written before
 * {@link #arrived} is seen by whoever finds the page present.
 *
 * <p><b>Memory bound:</b> 2 bits per page of heap.
 */
public final class PresenceMap {

  /** What is known of a page. */
  public enum State {
    /** It is there, and stays there. */
    PRESENT,
    /** It is not there, and nobody has asked for it. */
    ABSENT,
    /** It is not there; it was asked for. */
    REQUESTED,
    /** Somebody is writing it, as a whole. */
    ARRIVING
  }

  private static final State[] STATES = State.values();
  private static final long PRESENT = State.PRESENT.ordinal();
  private static final long ABSENT = State.ABSENT.ordinal();
  private static final long REQUESTED = State.REQUESTED.ordinal();
  private static final long ARRIVING = State.ARRIVING.ordinal();

  private static final int PAGES_PER_WORD_SHIFT = 5;
  private static final long PAGES_PER_WORD_MASK = 31;

  /** The lower one of each page's bits: set alone, the page is absent. */
  private static final long LOW_BITS = 0x5555_5555_5555_5555L;

  private static final VarHandle WORDS = MethodHandles.arrayElementVarHandle(long[].class);

  private final long[][] words;
  private final long[] pageCounts;

  /** Makes a map in which every page is present. */
  public PresenceMap(RamLayout layout) {
    this.pageCounts = layout.blocks().stream().mapToLong(RamBlockLayout::pageCount).toArray();
    this.words = new long[pageCounts.length][];
    for (int i = 0; i < words.length; i++) {
      words[i] =
          new long[Math.toIntExact((pageCounts[i] + PAGES_PER_WORD_MASK) >>> PAGES_PER_WORD_SHIFT)];
    }
  }

  private void check(int block, long page) {
    if (page < 0 || page >= pageCounts[block]) {
      throw new IndexOutOfBoundsException("page " + page + " of a block of " + pageCounts[block]);
    }
  }

  private static int word(long page) {
    return (int) (page >>> PAGES_PER_WORD_SHIFT);
  }

  private static int shift(long page) {
    return (int) (page & PAGES_PER_WORD_MASK) << 1;
  }

  /** {@return what is known of a page now} */
  public State state(int block, long page) {
    check(block, page);
    long word = (long) WORDS.getAcquire(words[block], word(page));
    return STATES[(int) (word >>> shift(page) & 3)];
  }

  /** {@return whether a page is there} */
  public boolean isPresent(int block, long page) {
    check(block, page);
    return ((long) WORDS.getAcquire(words[block], word(page)) >>> shift(page) & 3) == PRESENT;
  }

  private boolean change(int block, long page, long from, long to) {
    long[] in = words[block];
    int w = word(page);
    int shift = shift(page);
    while (true) {
      long before = (long) WORDS.getVolatile(in, w);
      if ((before >>> shift & 3) != from) {
        return false;
      }
      if (WORDS.compareAndSet(in, w, before, before ^ (from ^ to) << shift)) {
        return true;
      }
    }
  }

  /**
   * Says that pages are not there. To be called by one thread, before others have this map.
   *
   * @param from the first page
   * @param to behind the last one
   * @return how many of them were present
   */
  public long remove(int block, long from, long to) {
    if (from < 0 || from > to || to > pageCounts[block]) {
      throw new IndexOutOfBoundsException(
          "pages %d to %d of a block of %d".formatted(from, to, pageCounts[block]));
    }
    long removed = 0;
    long[] in = words[block];
    for (long page = from; page < to; ) {
      long end = Math.min(to, (page | PAGES_PER_WORD_MASK) + 1);
      long mask = -1L >>> Long.SIZE - 2 * (int) (end - page) << shift(page);
      long before = in[word(page)] & mask;
      // A page whose two bits are 0 is present.
      long taken = (before | before >>> 1) & LOW_BITS;
      removed += end - page - Long.bitCount(taken);
      in[word(page)] = in[word(page)] & ~mask | LOW_BITS & mask;
      page = end;
    }
    return removed;
  }

  /**
   * Notes that a page is asked for. {@return whether it was absent, so that the caller is to ask}
   */
  public boolean ask(int block, long page) {
    check(block, page);
    return change(block, page, ABSENT, REQUESTED);
  }

  /**
   * Takes the right to write a page that is not there.
   *
   * @return whether the caller has it now, and is to write the whole page and call {@link #arrived}
   *     or, if it cannot, {@link #unclaim}
   */
  public boolean claim(int block, long page) {
    check(block, page);
    // In this order: one that is asked for in between is found by the second.
    return change(block, page, ABSENT, ARRIVING) || change(block, page, REQUESTED, ARRIVING);
  }

  /**
   * Says that a page that the caller has claimed is there.
   *
   * @throws IllegalStateException if nobody has claimed it
   */
  public void arrived(int block, long page) {
    check(block, page);
    if (!change(block, page, ARRIVING, PRESENT)) {
      throw unclaimed(block, page);
    }
  }

  /**
   * Gives the right to write a page up again: it could not be written.
   *
   * @throws IllegalStateException if nobody has claimed it
   */
  public void unclaim(int block, long page) {
    check(block, page);
    if (!change(block, page, ARRIVING, ABSENT)) {
      throw unclaimed(block, page);
    }
  }

  private IllegalStateException unclaimed(int block, long page) {
    return new IllegalStateException(
        "page %d of block %d was not claimed: it is %s".formatted(page, block, state(block, page)));
  }

  /**
   * {@return the first page at or after {@code from} that is not present, or -1} While pages arrive
   * it may be out of date at once; but a page that it passes over is present for good.
   */
  public long nextMissing(int block, long from) {
    long page = from;
    while (page < pageCounts[block]) {
      long word = (long) WORDS.getAcquire(words[block], word(page)) >>> shift(page);
      if (word != 0) {
        return page + (Long.numberOfTrailingZeros(word) >>> 1);
      }
      page = (page | PAGES_PER_WORD_MASK) + 1;
    }
    return -1;
  }
}
