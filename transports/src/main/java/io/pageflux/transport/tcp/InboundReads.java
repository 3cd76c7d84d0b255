package io.pageflux.transport.tcp;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.channel.ChannelConfig;
import io.netty.channel.RecvByteBufAllocator;
import io.netty.util.UncheckedBooleanSupplier;

/**
 * How large a read is, and how many follow one another without going back to the event loop.
 *
 * <p>Reads go on while they are full and somebody wants what they bring.
 */
final class InboundReads implements RecvByteBufAllocator {

  /**
   * Thrown where memory for a read is asked for that nobody wants. After the peer has closed,
   * Netty's epoll channel reads until the end whatever the handle answers; but it takes an
   * exception here that is no {@link java.io.IOException} for a read that did not happen, tells the
   * pipeline, and reads on when asked to.
   */
  static final RuntimeException NO_DEMAND = new NoDemand();

  private static final class NoDemand extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NoDemand() {
      super("nobody wants to read", null, false, false);
    }
  }

  /** Then the loop's other connections have their turn. */
  private static final int MAX_READS = 16;

  private final TcpInbound inbound;
  private final int readBytes;

  InboundReads(TcpInbound inbound, int readBytes) {
    this.inbound = inbound;
    this.readBytes = readBytes;
  }

  // The type that the interface declares is deprecated, but there is no other.
  @SuppressWarnings("deprecation")
  @Override
  public Handle newHandle() {
    return new Reads();
  }

  private final class Reads implements ExtendedHandle {

    private int reads;
    private int attempted;
    private int last;

    @Override
    public ByteBuf allocate(ByteBufAllocator allocator) {
      if (!inbound.wantsRead()) {
        throw NO_DEMAND;
      }
      return allocator.ioBuffer(readBytes, readBytes);
    }

    @Override
    public int guess() {
      return readBytes;
    }

    @Override
    public void reset(ChannelConfig config) {
      reads = 0;
    }

    @Override
    public void incMessagesRead(int messages) {
      reads += messages;
    }

    @Override
    public void lastBytesRead(int bytes) {
      last = bytes;
    }

    @Override
    public int lastBytesRead() {
      return last;
    }

    @Override
    public void attemptedBytesRead(int bytes) {
      attempted = bytes;
    }

    @Override
    public int attemptedBytesRead() {
      return attempted;
    }

    @Override
    public boolean continueReading() {
      return reads < MAX_READS && last == attempted && inbound.wantsRead();
    }

    @Override
    public boolean continueReading(UncheckedBooleanSupplier maybeMoreData) {
      return continueReading();
    }

    @Override
    public void readComplete() {}
  }
}
