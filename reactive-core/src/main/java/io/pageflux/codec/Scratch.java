package io.pageflux.codec;

import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

/**
 * Direct memory of one worker that grows to the largest size asked for.
 *
 * <p>Its arena is shared because a worker's batches may meet different threads one after the other,
 * and because zstd's bindings check the arena's liveness and thread before they go native.
 */
final class Scratch implements AutoCloseable {

  private Arena arena = Arena.ofShared();
  private MemorySegment segment = MemorySegment.NULL;
  private ByteBuffer buffer = ByteBuffer.allocateDirect(0);

  /**
   * Throws if a batch's memory has been freed. The bindings that the JDK's foreign functions serve
   * would notice, but the older ones would go native all the same.
   */
  static void requireAlive(PageBatch batch) {
    if (!batch.slab().scope().isAlive()) {
      throw new IllegalStateException("the slab of " + batch + " has been freed");
    }
  }

  /** Throws if a slab's memory has been freed. */
  static void requireAlive(Lease slab) {
    if (!slab.segment().scope().isAlive()) {
      throw new IllegalStateException("a slab has been freed that was to be written to");
    }
  }

  /** Throws if this was closed. */
  void requireOpen() {
    if (!arena.scope().isAlive()) {
      throw new IllegalStateException("closed");
    }
  }

  /** Sees to it that there are so many bytes; what they hold is lost. */
  void require(int bytes) {
    requireOpen();
    if (buffer.capacity() < bytes) {
      arena.close();
      arena = Arena.ofShared();
      segment = arena.allocate(bytes, 64);
      buffer = segment.asByteBuffer();
    }
  }

  MemorySegment segment() {
    return segment;
  }

  ByteBuffer buffer() {
    return buffer;
  }

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
