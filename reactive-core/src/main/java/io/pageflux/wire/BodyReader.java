package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;

/**
 * A walk over the body of one record, or over a part of it, whose checksum was right. Whatever does
 * not fit is a {@link MigrationException} of kind {@code PROTOCOL} with its place.
 */
final class BodyReader {

  private final ByteBuffer bytes;
  private final Place place;
  private final long shift;

  /**
   * Begins at a buffer's position and goes to its limit at the most; both are this reader's.
   *
   * @param bytes big-endian
   * @param at where in the stream the first byte lies
   */
  BodyReader(ByteBuffer bytes, Place place, long at) {
    this.bytes = bytes;
    this.place = place;
    this.shift = at - bytes.position();
  }

  /** Where in the stream the next byte lies. */
  long at() {
    return bytes.position() + shift;
  }

  int u8(String what) {
    need(1, what);
    return bytes.get() & 0xFF;
  }

  int u16(String what) {
    need(2, what);
    return bytes.getShort() & 0xFFFF;
  }

  long u32(String what) {
    need(4, what);
    return bytes.getInt() & 0xFFFF_FFFFL;
  }

  /** A 32-bit number that must be at most {@code most}. */
  int u32(String what, int most) {
    long value = u32(what);
    if (value > most) {
      throw error(at() - 4, "%s is %d, but at most %d".formatted(what, value, most));
    }
    return (int) value;
  }

  long u64(String what) {
    need(8, what);
    return bytes.getLong();
  }

  /** Bytes that must be zero in this version. */
  void zeros(int count) {
    for (int i = 0; i < count; i++) {
      if (u8("a reserved byte") != 0) {
        throw error(at() - 1, "a reserved byte is not zero");
      }
    }
  }

  boolean bool(String what) {
    int value = u8(what);
    if (value > 1) {
      throw error(at() - 1, what + " is " + value + ", neither 0 nor 1");
    }
    return value == 1;
  }

  byte[] bytes(int count, String what) {
    need(count, what);
    byte[] copy = new byte[count];
    bytes.get(copy);
    return copy;
  }

  String text(int byteCount, String what) {
    need(byteCount, what);
    ByteBuffer text = bytes.slice(bytes.position(), byteCount);
    try {
      String decoded = Texts.ofUtf8(text);
      bytes.position(bytes.position() + byteCount);
      return decoded;
    } catch (CharacterCodingException _) {
      throw error(at() + text.position(), what + " is not UTF-8");
    }
  }

  /** Says that nothing may follow. */
  void end() {
    if (bytes.hasRemaining()) {
      throw error(at(), bytes.remaining() + " bytes too many in the body");
    }
  }

  private void need(int count, String what) {
    if (bytes.remaining() < count) {
      throw error(at(), "the body ends before " + what);
    }
  }

  MigrationException error(long at, String what) {
    return place.error(Kind.PROTOCOL, at, what);
  }
}
