package io.pageflux.examples.bench;

import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.SplittableRandom;

/**
 * Contents like those of a guest's RAM: 35 % zero pages, and the rest text, tables of pointers,
 * small numbers and some noise, of which zstd at level 1 makes about a third.
 */
final class GuestContents {

  /** The share of pages that are zero, in percent. */
  static final int ZERO_PERCENT = 35;

  private static final int PAGE = 4096;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;

  private static final byte[][] WORDS = words();

  private GuestContents() {}

  private static byte[][] words() {
    SplittableRandom random = new SplittableRandom(11);
    byte[][] words = new byte[700][];
    for (int i = 0; i < words.length; i++) {
      StringBuilder word = new StringBuilder();
      int length = 3 + random.nextInt(9);
      for (int j = 0; j < length; j++) {
        word.append((char) ('a' + random.nextInt(26)));
      }
      words[i] =
          word.append(random.nextInt(6) == 0 ? '\n' : ' ')
              .toString()
              .getBytes(StandardCharsets.US_ASCII);
    }
    return words;
  }

  /**
   * Fills a block, every page of it, so that none is fresh afterwards.
   *
   * @return the number of bytes in pages that are not zero
   */
  static long fill(RamBlock block, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    MemorySegment memory = block.segment();
    long nonZero = 0;
    for (long page = 0; page < memory.byteSize(); page += PAGE) {
      MemorySegment target = memory.asSlice(page, PAGE);
      int kind = random.nextInt(100);
      if (kind < ZERO_PERCENT) {
        target.fill((byte) 0);
        continue;
      }
      nonZero += PAGE;
      if (kind < 62) {
        text(target, random);
      } else if (kind < 84) {
        pointers(target, random);
      } else if (kind < 94) {
        numbers(target, random);
      } else {
        noise(target, random);
      }
    }
    return nonZero;
  }

  private static void text(MemorySegment page, SplittableRandom random) {
    int at = 0;
    while (at < PAGE) {
      int skew = random.nextInt(WORDS.length);
      byte[] word = WORDS[random.nextBoolean() ? skew / 12 : skew];
      int n = Math.min(word.length, PAGE - at);
      MemorySegment.copy(word, 0, page, ValueLayout.JAVA_BYTE, at, n);
      at += n;
    }
  }

  private static void pointers(MemorySegment page, SplittableRandom random) {
    long base = 0x7f3a_0000_0000L + (random.nextLong() & 0xfff_f000);
    for (int at = 0; at < PAGE; at += 8) {
      long value = random.nextInt(3) == 0 ? 0 : base + (random.nextInt(1 << 16) & ~7);
      page.set(LONG, at, value);
    }
  }

  private static void numbers(MemorySegment page, SplittableRandom random) {
    for (int at = 0; at < PAGE; at += 8) {
      page.set(LONG, at, random.nextInt(4) == 0 ? random.nextInt(1000) : 1);
    }
  }

  private static void noise(MemorySegment page, SplittableRandom random) {
    for (int at = 0; at < PAGE; at += 8) {
      page.set(LONG, at, random.nextLong());
    }
  }
}
