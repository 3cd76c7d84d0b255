package io.pageflux.codec;

import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import io.pageflux.MigrationException;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

/**
 * Decompresses batches that a {@link ZstdBatchCompressor} compressed, or that a peer says were.
 *
 * <p>The batch's description says how many bytes its contents have, and exactly so many must come
 * out; zstd is given room for no more. Whatever a frame claims about itself decides nothing.
 *
 * <p><b>Memory bound:</b> scratch of the largest {@link PageBatch#capacityBytes()} seen, outside
 * the heap, allocated by the first batch that is decompressed in place; and zstd's context of less
 * than 200 KiB.
 *
 * <p><b>Threading:</b> for one thread at a time; each worker has its own.
 */
public final class ZstdBatchDecompressor implements AutoCloseable {

  private final ZstdDecompressCtx context = new ZstdDecompressCtx();
  private final Scratch scratch = new Scratch();

  /** Makes a context. */
  public ZstdBatchDecompressor() {}

  /**
   * Decompresses a batch in place; one that is not compressed stays as it is.
   *
   * @throws MigrationException of kind {@code INTEGRITY}, if the stored bytes are no frame or do
   *     not decompress to the size that the batch must have; the batch is as it was
   * @throws IllegalStateException if this decompressor, or the batch's slab pool, is closed
   */
  public void decompress(PageBatch batch) {
    if (!batch.isCompressed()) {
      return;
    }
    int bytes = batch.payloadBytes();
    Scratch.requireAlive(batch);
    scratch.require(batch.capacityBytes());
    decompress(batch, scratch.buffer(), 0);
    MemorySegment.copy(scratch.segment(), 0, batch.slab(), batch.payloadOffset(), bytes);
    batch.markDecompressed();
  }

  /**
   * Decompresses a batch into another slab, which spares it a copy.
   *
   * @param batch has to be compressed
   * @param into is the batch's from here on, instead of the slab that it had, which is given back;
   *     unless this throws
   * @throws MigrationException of kind {@code INTEGRITY}, if the stored bytes are no frame or do
   *     not decompress to the size that the batch must have; the batch is as it was
   * @throws IllegalArgumentException if the batch's contents do not fit the slab
   * @throws IllegalStateException if this decompressor, or a slab's pool, is closed, or the batch
   *     is not compressed
   */
  public void decompress(PageBatch batch, Lease into) {
    scratch.requireOpen();
    Scratch.requireAlive(batch);
    Scratch.requireAlive(into);
    if (!batch.isCompressed()) {
      throw new IllegalStateException("the batch is not compressed");
    }
    if (into.segment().byteSize() - batch.payloadOffset() < batch.payloadBytes()) {
      throw new IllegalArgumentException("a slab that is too small for " + batch);
    }
    decompress(batch, into.buffer(), batch.payloadOffset());
    batch.markDecompressed(into);
  }

  private void decompress(PageBatch batch, ByteBuffer to, int at) {
    int bytes = batch.payloadBytes();
    if (bytes == 0) {
      throw MigrationException.of(
          MigrationException.Kind.INTEGRITY, "a compressed batch without contents: " + batch);
    }
    int decompressed;
    try {
      decompressed =
          context.decompressDirectByteBuffer(
              to, at, bytes, batch.lease().buffer(), batch.payloadOffset(), batch.storedBytes());
    } catch (ZstdException | AssertionError e) {
      // The bindings throw an AssertionError where the native call could not be made.
      throw MigrationException.of(
          MigrationException.Kind.INTEGRITY,
          "zstd cannot decompress %s to %d bytes: %s".formatted(batch, bytes, e.getMessage()),
          e);
    }
    if (decompressed != bytes) {
      throw MigrationException.of(
          MigrationException.Kind.INTEGRITY,
          "%s decompresses to %d bytes, but its pages have %d"
              .formatted(batch, decompressed, bytes));
    }
  }

  /**
   * Frees the context and the scratch. May be called again, but not while a batch is decompressed.
   */
  @Override
  public void close() {
    context.close();
    scratch.close();
  }
}
