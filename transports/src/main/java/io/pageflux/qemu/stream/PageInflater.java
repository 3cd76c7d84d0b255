package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;

/** Decompresses the pages of QEMU's capability {@code compress}: a zlib stream for each page. */
final class PageInflater implements AutoCloseable {

  private final Inflater inflater = new Inflater();

  /**
   * The most bytes that a compressed page may have.
   *
   * <p>Source: zlib's {@code compressBound}, which QEMU compares with.
   */
  static int mostBytes(int pageSizeBytes) {
    return pageSizeBytes + (pageSizeBytes >> 12) + (pageSizeBytes >> 14) + 13;
  }

  /**
   * Decompresses a page.
   *
   * @param page has as many bytes remaining as the page
   * @return whether the stream was whole, and had just that many bytes
   */
  boolean inflate(ByteBuffer compressed, ByteBuffer page) {
    inflater.reset();
    inflater.setInput(compressed);
    try {
      inflater.inflate(page);
      if (page.hasRemaining()) {
        return false;
      }
      // A whole stream knows that it is at its end, but may have to be asked once more.
      return inflater.finished() || inflater.inflate(new byte[1]) == 0 && inflater.finished();
    } catch (DataFormatException e) {
      return false;
    }
  }

  @Override
  public void close() {
    inflater.end();
  }
}
