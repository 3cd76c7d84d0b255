package io.pageflux.qemu.multifd;

import com.github.luben.zstd.ZstdDecompressCtx;
import com.github.luben.zstd.ZstdException;
import java.lang.foreign.Arena;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * zstd frames, one after the other, wherever packets begin and end.
 *
 * <p><b>Memory bound:</b> the window that a frame asks for, outside of what Java counts: up to
 * {@value #MAX_WINDOW_LOG} bits, which QEMU's highest level, 20, needs. Level 1 needs 512 KiB.
 * Input that comes in the heap passes through {@value #STAGE_BYTES} bytes.
 */
final class ZstdPayload implements PayloadDecoder {

  static final int MAX_WINDOW_LOG = 25;
  static final int STAGE_BYTES = 32 << 10;

  private final ZstdDecompressCtx context = new ZstdDecompressCtx();
  private @Nullable Arena arena;
  private ByteBuffer stage = ByteBuffer.allocate(0);
  // zstd may hold back output only if it had no room for it.
  private boolean holdsOutput;

  ZstdPayload() {
    context.setLongMax(MAX_WINDOW_LOG);
  }

  @Override
  public void decode(ByteBuffer in, ByteBuffer out) throws Damage {
    while (out.hasRemaining() && (in.hasRemaining() || holdsOutput)) {
      int room = out.remaining();
      int taken = in.isDirect() ? step(in, out) : stepFromHeap(in, out);
      holdsOutput = !out.hasRemaining();
      if (taken == 0 && out.remaining() == room && in.hasRemaining()) {
        throw new Damage("zstd takes nothing of it");
      }
    }
  }

  private int stepFromHeap(ByteBuffer in, ByteBuffer out) throws Damage {
    if (arena == null) {
      arena = Arena.ofShared();
      stage = arena.allocate(STAGE_BYTES).asByteBuffer();
    }
    int n = Math.min(in.remaining(), stage.capacity());
    stage.clear().put(0, in, in.position(), n).limit(n);
    int taken = step(stage, out);
    in.position(in.position() + taken);
    return taken;
  }

  private int step(ByteBuffer in, ByteBuffer out) throws Damage {
    int from = in.position();
    try {
      context.decompressDirectByteBufferStream(out, in);
    } catch (ZstdException | AssertionError e) {
      // The bindings throw an AssertionError where the native call could not be made.
      throw new Damage("zstd refuses it: " + e.getMessage(), e);
    }
    return in.position() - from;
  }

  @Override
  public void close() {
    context.close();
    if (arena != null) {
      arena.close();
      arena = null;
    }
  }
}
