package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.channel.unix.UnixChannelUtil;
import io.pageflux.transport.TransportBuffer;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(LeakCheck.class)
class OutboundBuffersTest {

  private final AtomicInteger released = new AtomicInteger();

  private ByteBuf wrap(ByteBuffer bytes) {
    return OutboundBuffers.wrap(
        ByteBufAllocator.DEFAULT, new TransportBuffer(bytes, released::incrementAndGet));
  }

  @Test
  void directMemoryIsShownToTheKernelWhereItLies() {
    try (Arena arena = Arena.ofShared()) {
      MemorySegment segment = arena.allocate(1 << 16, 4096);
      ByteBuf wrapped = wrap(segment.asByteBuffer().position(100).limit(300));
      assertThat(wrapped.readableBytes()).isEqualTo(200);
      assertThat(wrapped.hasMemoryAddress()).isTrue();
      assertThat(wrapped.memoryAddress()).isEqualTo(segment.address() + 100);
      assertThat(UnixChannelUtil.isBufferCopyNeededForWrite(wrapped)).as("epoll").isFalse();
      assertThat(wrapped.isDirect()).as("NIO").isTrue();
      assertThat(MemorySegment.ofBuffer(wrapped.internalNioBuffer(0, 200)).address())
          .isEqualTo(segment.address() + 100);
      assertThat(released).hasValue(0);
      wrapped.release();
      assertThat(released).hasValue(1);
      assertThat(segment.scope().isAlive()).isTrue();
    }
  }

  @Test
  void readOnlyDirectMemoryIsNotCopiedEither() {
    ByteBuffer direct = ByteBuffer.allocateDirect(64);
    ByteBuf wrapped = wrap(direct.asReadOnlyBuffer());
    assertThat(UnixChannelUtil.isBufferCopyNeededForWrite(wrapped)).isFalse();
    assertThat(wrapped.isDirect()).isTrue();
    assertThat(wrapped.nioBufferCount()).isEqualTo(1);
    assertThat(MemorySegment.ofBuffer(wrapped.nioBuffer()).address())
        .isEqualTo(MemorySegment.ofBuffer(direct).address());
    wrapped.release();
    assertThat(released).hasValue(1);
  }

  @Test
  void heapMemoryIsCopiedAndGivenBackAtOnce() {
    ByteBuf wrapped = wrap(ByteBuffer.wrap(new byte[] {1, 2, 3}, 1, 2));
    assertThat(released).hasValue(1);
    assertThat(wrapped.isDirect()).isTrue();
    assertThat(wrapped.readableBytes()).isEqualTo(2);
    assertThat(wrapped.getByte(0)).isEqualTo((byte) 2);
    wrapped.release();
    assertThat(released).hasValue(1);
  }
}
