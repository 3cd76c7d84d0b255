package io.pageflux.transport.tcp;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.CompositeByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.buffer.UnpooledDirectByteBuf;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;

/**
 * Shows a {@link TransportBuffer} to Netty as a {@link ByteBuf}, and gives it back when Netty has
 * released that.
 *
 * <p>Direct memory is not copied: Netty hands its address (epoll) or a view of it (NIO) to the
 * kernel. Heap memory would be copied by Netty at the write in any case, so it is copied here and
 * given back at once.
 */
final class OutboundBuffers {

  private OutboundBuffers() {}

  /** Wraps a buffer, which is from now on the returned one's to release, also on an error. */
  static ByteBuf wrap(ByteBufAllocator allocator, TransportBuffer buffer) {
    ByteBuffer bytes = buffer.bytes();
    try {
      if (!bytes.isDirect()) {
        ByteBuf copy = allocator.directBuffer(bytes.remaining()).writeBytes(bytes.duplicate());
        buffer.release();
        return copy;
      }
      // Netty refuses to make a writable buffer of a read-only one, hence the second class.
      return bytes.isReadOnly() ? new LentReadOnly(allocator, buffer) : new Lent(allocator, buffer);
    } catch (RuntimeException | Error e) {
      buffer.release();
      throw e;
    }
  }

  private static final class Lent extends UnpooledDirectByteBuf {

    private final TransportBuffer buffer;

    Lent(ByteBufAllocator allocator, TransportBuffer buffer) {
      // This constructor takes a slice, and does not free the memory.
      super(allocator, buffer.bytes(), buffer.bytes().remaining());
      this.buffer = buffer;
    }

    @Override
    protected void deallocate() {
      try {
        super.deallocate();
      } finally {
        buffer.release();
      }
    }
  }

  private static final class LentReadOnly extends CompositeByteBuf {

    private final TransportBuffer buffer;

    LentReadOnly(ByteBufAllocator allocator, TransportBuffer buffer) {
      super(allocator, true, 1);
      this.buffer = buffer;
      addComponent(true, Unpooled.wrappedBuffer(buffer.bytes()));
    }

    @Override
    protected void deallocate() {
      try {
        super.deallocate();
      } finally {
        buffer.release();
      }
    }
  }
}
