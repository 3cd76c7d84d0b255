package io.pageflux.qemu.multifd;

import io.pageflux.page.PageBatch;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/**
 * Something to be sent over one connection: a batch, which becomes packets, or bytes.
 *
 * <p>A batch is released with the last of its buffers, since some of them may be on their way while
 * others are given up.
 */
final class OutgoingItem {

  private final @Nullable PageBatch batch;
  private List<ByteBuffer> bytes;

  private OutgoingItem(@Nullable PageBatch batch, List<ByteBuffer> bytes) {
    this.batch = batch;
    this.bytes = bytes;
  }

  static OutgoingItem of(PageBatch batch) {
    return new OutgoingItem(batch, List.of());
  }

  static OutgoingItem of(ByteBuffer bytes) {
    return new OutgoingItem(null, List.of(bytes));
  }

  /** Whether packets have to be made of it. */
  boolean isBatch() {
    return batch != null;
  }

  /** Makes the packets of the batch. */
  OutgoingItem encode(MultifdPacketWriter writer) {
    if (batch != null) {
      bytes = writer.write(batch);
    }
    return this;
  }

  /** What is to be sent, each to be released. The item is used up. */
  List<TransportBuffer> buffers() {
    PageBatch owned = batch;
    if (owned == null) {
      return bytes.stream().map(TransportBuffer::of).toList();
    }
    if (bytes.isEmpty()) {
      owned.release();
      return List.of();
    }
    AtomicInteger left = new AtomicInteger(bytes.size());
    Runnable release =
        () -> {
          if (left.decrementAndGet() == 0) {
            owned.release();
          }
        };
    List<TransportBuffer> buffers = new ArrayList<>(bytes.size());
    for (ByteBuffer piece : bytes) {
      buffers.add(new TransportBuffer(piece, release));
    }
    return buffers;
  }

  void release() {
    if (batch != null) {
      batch.release();
    }
  }
}
