package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import org.jspecify.annotations.Nullable;

/**
 * Collects compressed pages, each a zlib stream of its own, and inflates them.
 *
 * <p><b>Memory bound:</b> a compressed page and zlib's state, from the first such page on.
 */
final class PageInflater {

  private final int pageSize;
  private @Nullable Inflater inflater;
  private byte[] packed = new byte[0];
  private int length;
  private int taken;

  PageInflater(int pageSize) {
    this.pageSize = pageSize;
  }

  /** Begins a page. The length was checked. */
  void begin(int packedBytes) {
    if (packed.length == 0) {
      packed = new byte[QemuFormat.compressBound(pageSize)];
    }
    length = packedBytes;
    taken = 0;
  }

  /** Takes what there is. {@return whether it is all} */
  boolean take(ByteBuffer in, Piece piece) {
    int n = Math.min(length - taken, in.remaining());
    in.get(packed, taken, n);
    taken += n;
    piece.passed(n);
    return taken == length;
  }

  /**
   * Inflates the page.
   *
   * @param out has room for exactly one page
   * @return what is wrong with it, or null
   */
  @Nullable String inflate(ByteBuffer out) {
    Inflater zlib = inflater;
    if (zlib == null) {
      zlib = new Inflater();
      inflater = zlib;
    }
    zlib.reset();
    zlib.setInput(packed, 0, length);
    try {
      int n = zlib.inflate(out);
      if (n == pageSize && !zlib.finished()) {
        // The checksum at the end is read only when there is room for another byte.
        n += zlib.inflate(new byte[1]);
      }
      if (n != pageSize || !zlib.finished()) {
        return "does not inflate to a page of %d bytes".formatted(pageSize);
      }
      return zlib.getRemaining() == 0
          ? null
          : "has %d bytes too many".formatted(zlib.getRemaining());
    } catch (DataFormatException e) {
      return "is damaged: " + (e.getMessage() == null ? "no zlib data" : e.getMessage());
    }
  }

  void close() {
    if (inflater != null) {
      inflater.end();
      inflater = null;
    }
  }
}
