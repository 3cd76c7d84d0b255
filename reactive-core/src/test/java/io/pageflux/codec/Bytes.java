package io.pageflux.codec;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/** Memory outside the heap, for tests; the garbage collector frees it. */
final class Bytes {

  private Bytes() {}

  static MemorySegment zeros(long bytes) {
    return Arena.ofAuto().allocate(bytes);
  }

  static MemorySegment of(byte... bytes) {
    MemorySegment segment = zeros(Math.max(1, bytes.length)).asSlice(0, bytes.length);
    MemorySegment.copy(bytes, 0, segment, ValueLayout.JAVA_BYTE, 0, bytes.length);
    return segment;
  }

  static MemorySegment copyOf(MemorySegment segment) {
    return of(array(segment));
  }

  static byte[] array(MemorySegment segment) {
    return segment.toArray(ValueLayout.JAVA_BYTE);
  }

  static byte get(MemorySegment segment, long at) {
    return segment.get(ValueLayout.JAVA_BYTE, at);
  }

  static void set(MemorySegment segment, long at, int value) {
    segment.set(ValueLayout.JAVA_BYTE, at, (byte) value);
  }

  /** Changes one byte to another value. */
  static void change(MemorySegment segment, long at, Random random) {
    set(segment, at, get(segment, at) ^ 1 + random.nextInt(255));
  }

  static void randomize(MemorySegment segment, Random random) {
    byte[] bytes = new byte[(int) segment.byteSize()];
    random.nextBytes(bytes);
    MemorySegment.copy(bytes, 0, segment, ValueLayout.JAVA_BYTE, 0, bytes.length);
  }
}
