package io.pageflux.qemu.multifd;

import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdCompressCtx;
import com.github.luben.zstd.ZstdException;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import java.util.zip.Deflater;

/** Compresses the contents of a packet's pages into its own scratch memory. */
abstract sealed class PayloadEncoder implements AutoCloseable {

  private final Arena arena = Arena.ofShared();
  private final ByteBuffer scratch;

  private PayloadEncoder(int scratchBytes) {
    scratch = arena.allocate(scratchBytes, 64).asByteBuffer();
  }

  /**
   * Compresses.
   *
   * @param contents direct, at most {@link MultifdFormat#PACKET_MEMORY_BYTES}, and not empty
   * @return the result, good until the next call
   */
  final ByteBuffer encode(ByteBuffer contents) {
    int bytes = encode(contents, scratch.clear());
    return scratch.slice(0, bytes);
  }

  abstract int encode(ByteBuffer contents, ByteBuffer out);

  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  /** Goes on with one zlib stream, so that what was packed before helps what comes. */
  static final class Zlib extends PayloadEncoder {
    /** zlib stores what it cannot compress, with less than this much beside it. */
    private static final int MARGIN_BYTES = 16 << 10;

    private final Deflater deflater;

    Zlib(int level) {
      super(MultifdFormat.PACKET_MEMORY_BYTES + MARGIN_BYTES);
      deflater = new Deflater(level);
    }

    @Override
    int encode(ByteBuffer contents, ByteBuffer out) {
      deflater.setInput(contents);
      int bytes = deflater.deflate(out, Deflater.SYNC_FLUSH);
      // Less than there is room for: so all of it was flushed, and the packet can be read whole.
      if (!out.hasRemaining() || !deflater.needsInput()) {
        throw MigrationException.of(
            Kind.INTERNAL, "zlib needs more than " + bytes + " bytes for a multifd packet");
      }
      return bytes;
    }

    @Override
    public void close() {
      deflater.end();
      super.close();
    }
  }

  /** Makes a frame of its own, with a checksum, of each packet. */
  static final class ZstdFrames extends PayloadEncoder {
    private final ZstdCompressCtx context = new ZstdCompressCtx();

    ZstdFrames(int level) {
      super((int) Zstd.compressBound(MultifdFormat.PACKET_MEMORY_BYTES));
      context.setLevel(level);
      context.setChecksum(true);
    }

    @Override
    int encode(ByteBuffer contents, ByteBuffer out) {
      try {
        return context.compressDirectByteBuffer(
            out, 0, out.capacity(), contents, contents.position(), contents.remaining());
      } catch (ZstdException | AssertionError e) {
        // The bindings throw an AssertionError where the native call could not be made.
        throw MigrationException.of(
            Kind.INTERNAL, "zstd cannot compress a multifd packet: " + e.getMessage(), e);
      }
    }

    @Override
    public void close() {
      context.close();
      super.close();
    }
  }
}
