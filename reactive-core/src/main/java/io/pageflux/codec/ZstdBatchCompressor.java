package io.pageflux.codec;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdException;
import io.pageflux.MigrationException;
import io.pageflux.page.PageBatch;
import java.lang.foreign.MemorySegment;

/**
 * Compresses batches, each into one zstd frame: the contents of all its pages together, which zstd
 * compresses better and faster than page by page.
 *
 * <p>The frame has no checksum of its own: the record that carries it has one.
 *
 * <p><b>Memory bound:</b> scratch of {@code compressBound} of the largest {@link
 * PageBatch#capacityBytes()} seen (that and 1/256), outside the heap, allocated by the first batch;
 * and zstd's context, outside of what Java counts: measured with batches of 256 KiB, 0.2 MiB at
 * level 1, 0.5 MiB at level 3, 2 MiB at level 9 and 5 MiB at level 19.
 *
 * <p><b>Threading:</b> for one thread at a time; each worker has its own.
 */
public final class ZstdBatchCompressor implements AutoCloseable {

  /** The level that keeps up with a fast network best. */
  public static final int DEFAULT_LEVEL = 1;

  /** Contents of fewer bytes are left as they are: what could be saved is not worth a frame. */
  public static final int MIN_PAYLOAD_BYTES = 256;

  private int level;
  private final ZstdCompressCtx context;
  private final Scratch scratch = new Scratch();

  /**
   * Makes a context.
   *
   * @param level zstd's compression level; negative ones are faster than 1
   * @throws IllegalArgumentException if zstd has no such level
   */
  public ZstdBatchCompressor(int level) {
    this.level = requireLevel(level);
    this.context = new ZstdCompressCtx();
    context.setLevel(level);
    context.setChecksum(false);
  }

  /**
   * {@return the level, if zstd has it}
   *
   * @throws IllegalArgumentException if not
   */
  public static int requireLevel(int level) {
    if (level < Zstd.minCompressionLevel() || level > Zstd.maxCompressionLevel()) {
      throw new IllegalArgumentException(
          "zstd has the levels %d to %d, but not %d"
              .formatted(Zstd.minCompressionLevel(), Zstd.maxCompressionLevel(), level));
    }
    return level;
  }

  /** {@return the compression level} */
  public int level() {
    return level;
  }

  /**
   * Compresses what comes next at another level.
   *
   * @throws IllegalArgumentException if zstd has no such level
   */
  public void setLevel(int newLevel) {
    if (newLevel != level) {
      level = requireLevel(newLevel);
      context.setLevel(newLevel);
    }
  }

  /**
   * Compresses the contents of a batch in place, if that saves at least a sixteenth; if not, or if
   * the batch is compressed or has less than {@link #MIN_PAYLOAD_BYTES}, it stays as it is.
   *
   * @throws MigrationException of kind {@code INTERNAL}, if zstd fails
   * @throws IllegalStateException if this compressor, or the batch's slab pool, is closed
   */
  public void compress(PageBatch batch) {
    int bytes = batch.payloadBytes();
    if (batch.isCompressed() || bytes < MIN_PAYLOAD_BYTES) {
      return;
    }
    Scratch.requireAlive(batch);
    // Room for the worst case, so that zstd never fails for want of it: an exception would cost
    // more than what is saved.
    scratch.require((int) Zstd.compressBound(batch.capacityBytes()));
    int compressed;
    try {
      compressed =
          context.compressDirectByteBuffer(
              scratch.buffer(),
              0,
              scratch.buffer().capacity(),
              batch.lease().buffer(),
              batch.payloadOffset(),
              bytes);
    } catch (ZstdException | AssertionError e) {
      // The bindings throw an AssertionError where the native call could not be made.
      throw MigrationException.of(
          MigrationException.Kind.INTERNAL, "zstd cannot compress " + batch + ": " + e, e);
    }
    if (compressed <= bytes - bytes / 16) {
      MemorySegment.copy(scratch.segment(), 0, batch.slab(), batch.payloadOffset(), compressed);
      batch.markCompressed(compressed);
    }
  }

  /**
   * Frees the context and the scratch. May be called again, but not while a batch is compressed.
   */
  @Override
  public void close() {
    context.close();
    scratch.close();
  }
}
