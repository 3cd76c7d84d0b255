package io.pageflux.wire;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Text from and for a peer. */
final class Texts {

  private Texts() {}

  /**
   * UTF-8 of at most so many bytes; what is longer is cut between two characters. An unpaired
   * surrogate becomes a question mark.
   */
  static byte[] utf8(String text, int maxBytes) {
    // No character takes more chars than bytes, so what follows cannot be needed.
    String start = text.length() > maxBytes ? text.substring(0, maxBytes) : text;
    byte[] bytes = start.getBytes(StandardCharsets.UTF_8);
    if (bytes.length <= maxBytes) {
      return bytes;
    }
    int end = maxBytes;
    while ((bytes[end] & 0xC0) == 0x80) {
      end--;
    }
    return Arrays.copyOf(bytes, end);
  }

  /**
   * The text of some bytes.
   *
   * @throws CharacterCodingException if they are not UTF-8
   */
  static String ofUtf8(ByteBuffer bytes) throws CharacterCodingException {
    return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
  }

  /** The same text with what a terminal or a log could be fooled with written as escapes. */
  static String printable(String text) {
    StringBuilder out = new StringBuilder(text.length());
    text.codePoints()
        .forEach(
            c -> {
              switch (Character.getType(c)) {
                case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.PRIVATE_USE,
                    Character.UNASSIGNED,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR ->
                    out.append("\\u{%x}".formatted(c));
                default -> out.appendCodePoint(c);
              }
            });
    return out.toString();
  }

  /** Bytes as ASCII, with escapes for what is not printable. */
  static String printable(ByteBuffer bytes) {
    StringBuilder out = new StringBuilder();
    for (int i = bytes.position(); i < bytes.limit(); i++) {
      int b = bytes.get(i) & 0xFF;
      if (b >= 0x20 && b < 0x7F && b != '\\') {
        out.append((char) b);
      } else {
        out.append("\\x%02x".formatted(b));
      }
    }
    return out.toString();
  }
}
