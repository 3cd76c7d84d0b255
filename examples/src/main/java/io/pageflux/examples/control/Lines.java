package io.pageflux.examples.control;

import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * Cuts what a controller sends into lines.
 *
 * <p><b>Memory bound:</b> the longest line that is allowed, and what came with one read.
 */
final class Lines {

  /** The longest command in bytes, its end not included. */
  static final int MAX_LINE_BYTES = 16 << 10;

  private static final int EXCERPT_CHARS = 60;

  private ByteArrayOutputStream line = new ByteArrayOutputStream();
  private boolean tooLong;

  /** {@return the lines that are complete with these bytes} Does not release them. */
  List<String> take(TransportBuffer buffer) {
    List<String> lines = new ArrayList<>();
    ByteBuffer bytes = buffer.bytes();
    while (bytes.hasRemaining() && !tooLong) {
      byte next = bytes.get();
      if (next == '\n') {
        String complete = line.toString(StandardCharsets.UTF_8);
        line.reset();
        if (!complete.isBlank()) {
          lines.add(complete);
        }
      } else if (line.size() == MAX_LINE_BYTES) {
        tooLong = true;
        line = new ByteArrayOutputStream();
      } else {
        line.write(next);
      }
    }
    return lines;
  }

  /** {@return whether a line is too long; nothing is taken after that} */
  boolean isTooLong() {
    return tooLong;
  }

  /** {@return the beginning of what somebody sent, printable} */
  static String excerpt(String text) {
    StringBuilder printable = new StringBuilder();
    for (int i = 0; i < text.length() && i < EXCERPT_CHARS; i++) {
      char c = text.charAt(i);
      printable.append(c < ' ' || c > '~' ? '?' : c);
    }
    return text.length() > EXCERPT_CHARS ? printable + "..." : printable.toString();
  }
}
