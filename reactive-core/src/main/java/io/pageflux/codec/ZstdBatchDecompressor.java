package io.pageflux.codec;

import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import io.pageflux.MigrationException;
import io.pageflux.page.PageBatch;
import java.lang.foreign.MemorySegment;

/**
 * Decompresses batches that a {@link ZstdBatchCompressor} compressed, or that a peer says were.
 *
 * <p>The batch's description says how many bytes its contents have, and exactly so many must come
 * out; zstd is given room for no more. Whatever a frame claims about itself decides nothing.
 *
 * <p><b>Memory bound:</b> scratch of the largest {@link PageBatch#capacityBytes()} seen, outside
 * the heap, allocated by the first compressed batch; and zstd's context of less than 200 KiB.
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
    if (bytes == 0) {
      throw MigrationException.of(
          MigrationException.Kind.INTEGRITY, "a compressed batch without contents: " + batch);
    }
    Scratch.requireAlive(batch);
    scratch.require(batch.capacityBytes());
    int decompressed;
    try {
      decompressed =
          context.decompressDirectByteBuffer(
              scratch.buffer(),
              0,
              bytes,
              batch.lease().buffer(),
              batch.payloadOffset(),
              batch.storedBytes());
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
    MemorySegment.copy(scratch.segment(), 0, batch.slab(), batch.payloadOffset(), bytes);
    batch.markDecompressed();
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
