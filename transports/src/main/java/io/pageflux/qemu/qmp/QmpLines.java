package io.pageflux.qemu.qmp;

import io.netty.buffer.ByteBuf;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;

/**
 * Cuts what comes into lines, however it was cut before.
 *
 * <p><b>Memory bound:</b> twice the longest line that is allowed; what is allocated grows with what
 * has come.
 */
final class QmpLines {

  private final int maxLineBytes;
  private ByteArrayOutputStream line = new ByteArrayOutputStream();

  QmpLines(int maxLineBytes) {
    this.maxLineBytes = maxLineBytes;
  }

  /**
   * Takes bytes, all of them, unless a line is too long.
   *
   * @param lines gets each line that is complete, without its end
   * @return false if a line is too long; nothing can be taken after that
   */
  boolean take(ByteBuf bytes, Consumer<String> lines) {
    while (bytes.isReadable()) {
      int length = bytes.bytesBefore((byte) '\n');
      int more = length < 0 ? bytes.readableBytes() : length;
      if (more > maxLineBytes - line.size()) {
        return false;
      }
      byte[] part = new byte[more];
      bytes.readBytes(part);
      line.writeBytes(part);
      if (length >= 0) {
        bytes.skipBytes(1);
        String complete = line.toString(StandardCharsets.UTF_8);
        line = new ByteArrayOutputStream(); // The longest line's array is not kept.
        if (!complete.isBlank()) {
          lines.accept(complete);
        }
      }
    }
    return true;
  }

  /** {@return whether a line has begun and not ended} */
  boolean isWithinLine() {
    return line.size() > 0;
  }
}
