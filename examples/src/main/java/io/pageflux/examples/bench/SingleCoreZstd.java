package io.pageflux.examples.bench;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

/** The rival of parallel compression: what one thread compresses, in pieces as large as batches. */
final class SingleCoreZstd {

  private static final int PAGE = 4096;
  private static final int PIECE_BYTES = 256 << 10;

  /**
   * What was measured.
   *
   * @param bytesPerSecond of contents that went in, per second
   * @param ratio how many bytes became one
   */
  record Result(double bytesPerSecond, double ratio) {}

  private SingleCoreZstd() {}

  /** Compresses the pages of a block that are not zero, 64 at a time. */
  static Result measure(MemorySegment memory, int level, long maxBytes) {
    ByteBuffer in = ByteBuffer.allocateDirect(PIECE_BYTES);
    MemorySegment piece = MemorySegment.ofBuffer(in);
    ByteBuffer out = ByteBuffer.allocateDirect((int) Zstd.compressBound(PIECE_BYTES));
    MemorySegment zeros = MemorySegment.ofArray(new byte[PAGE]);
    long bytes = 0;
    long compressed = 0;
    long nanos = 0;
    try (ZstdCompressCtx context = new ZstdCompressCtx()) {
      context.setLevel(level);
      int filled = 0;
      for (long page = 0; page < memory.byteSize() && bytes < maxBytes; page += PAGE) {
        if (MemorySegment.mismatch(memory, page, page + PAGE, zeros, 0, PAGE) == -1) {
          continue;
        }
        MemorySegment.copy(memory, page, piece, filled, PAGE);
        filled += PAGE;
        if (filled == PIECE_BYTES) {
          long began = System.nanoTime();
          compressed +=
              context.compressDirectByteBuffer(out, 0, out.capacity(), in, 0, PIECE_BYTES);
          nanos += System.nanoTime() - began;
          bytes += PIECE_BYTES;
          filled = 0;
        }
      }
    }
    return new Result(bytes * 1e9 / nanos, (double) bytes / compressed);
  }
}
