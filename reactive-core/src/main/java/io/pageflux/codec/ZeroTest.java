package io.pageflux.codec;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;

/** Finds out whether memory holds nothing but zeros. */
public final class ZeroTest {

  private static final int BLOCK_BYTES = 64;

  private ZeroTest() {}

  /**
   * {@return whether every byte of a part of a segment is zero}
   *
   * <p>Ends at the first 64 bytes that hold something, which for pages in use are nearly always the
   * very first ones. The part may begin anywhere and have any length; an empty one is zero.
   *
   * @param segment the memory, best outside the heap
   * @param offset where the part begins, in bytes
   * @param bytes how long it is
   * @throws IndexOutOfBoundsException if the part is not within the segment
   */
  public static boolean isZero(MemorySegment segment, long offset, long bytes) {
    // One check of the bounds for all reads: the loops run from 0 over a slice of known size.
    MemorySegment part = segment.asSlice(offset, bytes);
    long i = 0;
    for (long end = bytes & -BLOCK_BYTES; i < end; i += BLOCK_BYTES) {
      long any =
          part.get(JAVA_LONG_UNALIGNED, i)
              | part.get(JAVA_LONG_UNALIGNED, i + 8)
              | part.get(JAVA_LONG_UNALIGNED, i + 16)
              | part.get(JAVA_LONG_UNALIGNED, i + 24)
              | part.get(JAVA_LONG_UNALIGNED, i + 32)
              | part.get(JAVA_LONG_UNALIGNED, i + 40)
              | part.get(JAVA_LONG_UNALIGNED, i + 48)
              | part.get(JAVA_LONG_UNALIGNED, i + 56);
      if (any != 0) {
        return false;
      }
    }
    for (; i + 8 <= bytes; i += 8) {
      if (part.get(JAVA_LONG_UNALIGNED, i) != 0) {
        return false;
      }
    }
    for (; i < bytes; i++) {
      if (part.get(JAVA_BYTE, i) != 0) {
        return false;
      }
    }
    return true;
  }
}
