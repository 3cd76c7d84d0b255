package io.pageflux.examples.fault;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.Deque;

/** Takes a process's memory, but for a little. */
final class MemoryHog {

  private static final int LARGE = 4 << 20;
  private static final int PIECE = 64 << 10;

  private final Deque<Object> taken = new ArrayDeque<>();

  /**
   * Takes it, until it is closed with the process.
   *
   * @param heap whether of the heap, or else of what lies outside of it
   * @param leftBytes how much to leave
   */
  void take(boolean heap, long leftBytes) {
    takeAll(heap, LARGE);
    takeAll(heap, PIECE);
    for (long freed = 0; freed < leftBytes && !taken.isEmpty(); freed += PIECE) {
      taken.pop();
    }
    if (!heap) {
      System.gc(); // gives back what was left
    }
  }

  private void takeAll(boolean heap, int size) {
    try {
      while (true) {
        taken.push(heap ? new byte[size] : ByteBuffer.allocateDirect(size));
      }
    } catch (OutOfMemoryError e) {
      // All of it.
    }
  }
}
