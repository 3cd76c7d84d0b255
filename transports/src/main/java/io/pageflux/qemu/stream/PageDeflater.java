package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;
import java.util.zip.Deflater;

/** Makes pages zlib streams, each of its own. */
final class PageDeflater {

  private final Deflater zlib;

  PageDeflater(int level) {
    this.zlib = new Deflater(level);
  }

  /**
   * Writes a page's compressed length and bytes.
   *
   * @return whether that took less than the page itself; if not, nothing was written
   */
  boolean deflate(ByteBuffer page, ByteBuffer out) {
    int room = page.remaining() - 1;
    int start = out.position();
    zlib.reset();
    zlib.setInput(page);
    zlib.finish();
    int length = zlib.deflate(out.slice(start + 4, room));
    if (!zlib.finished()) {
      return false;
    }
    out.putInt(length).position(start + 4 + length);
    return true;
  }

  void close() {
    zlib.end();
  }
}
