package io.pageflux.dirty;

import io.pageflux.memory.PageSet;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * The reported pages of one block: a bitmap with a summary, set by many threads, drained by one.
 *
 * <p><b>Why no report is lost.</b> A writer stores its data and then sees to it that the page's bit
 * is set. The collector clears the bit and then copies the data. With a full barrier between the
 * two steps on both sides, one of them must see the other: either the collector's copy has the
 * data, or the writer finds the bit cleared and sets it again. The barriers may not be weaker: both
 * sides store first and load afterwards, and acquire and release would let each load overtake the
 * store before it. The same holds a level higher, between a word and its summary bit.
 */
final class ReportedPages {

  private static final VarHandle ELEMENT = MethodHandles.arrayElementVarHandle(long[].class);

  private final long[] words;
  // Bit i: words[i] may be other than zero.
  private final long[] summary;

  ReportedPages(long pageCount) {
    this.words = new long[(int) (pageCount + 63 >>> 6)];
    this.summary = new long[words.length + 63 >>> 6];
  }

  /** Adds the pages from {@code first} to {@code last}, both included, whose data are written. */
  void report(long first, long last) {
    VarHandle.fullFence();
    int firstWord = (int) (first >>> 6);
    int lastWord = (int) (last >>> 6);
    for (int w = firstWord; w <= lastWord; w++) {
      long mask = -1L;
      if (w == firstWord) {
        mask &= -1L << first;
      }
      if (w == lastWord) {
        mask &= -1L >>> ~last;
      }
      setBits(words, w, mask);
    }
    for (int s = firstWord >>> 6; s <= lastWord >>> 6; s++) {
      long mask = -1L;
      if (s == firstWord >>> 6) {
        mask &= -1L << firstWord;
      }
      if (s == lastWord >>> 6) {
        mask &= -1L >>> ~lastWord;
      }
      // Also where the bits were set by somebody else: he may not have come to the summary yet.
      setBits(summary, s, mask);
    }
  }

  /** Spares a page that is written again and again the contended atomic operation. */
  private static void setBits(long[] array, int index, long mask) {
    if (((long) ELEMENT.getVolatile(array, index) & mask) != mask) {
      ELEMENT.getAndBitwiseOr(array, index, mask);
    }
  }

  /** Moves all pages into a set. {@return how many were not in it before} */
  long drainTo(PageSet into) {
    long added = 0;
    for (int s = 0; s < summary.length; s++) {
      for (long rest = take(summary, s); rest != 0; rest &= rest - 1) {
        int w = (s << 6) + Long.numberOfTrailingZeros(rest);
        for (long word = take(words, w); word != 0; word &= word - 1) {
          if (into.add(((long) w << 6) + Long.numberOfTrailingZeros(word))) {
            added++;
          }
        }
      }
    }
    return added;
  }

  /** Forgets all pages. */
  void clear() {
    for (int s = 0; s < summary.length; s++) {
      for (long rest = take(summary, s); rest != 0; rest &= rest - 1) {
        take(words, (s << 6) + Long.numberOfTrailingZeros(rest));
      }
    }
  }

  private static long take(long[] array, int index) {
    if ((long) ELEMENT.getVolatile(array, index) == 0) {
      return 0;
    }
    long taken = (long) ELEMENT.getAndSet(array, index, 0L);
    VarHandle.fullFence();
    return taken;
  }
}
