package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The bytes of the element that is being read, put together from pieces of the stream, and where
 * they lie in it.
 */
final class StreamInput {

  /** The longest element besides pages: a list of 256 blocks with the longest names. */
  static final int MAX_ELEMENT_BYTES = 128 << 10;

  private byte[] bytes = new byte[64];
  private int length;
  private long start;
  private long taken;
  private boolean starved;
  private String context = "the header";

  /** Says in what part of the stream this is, for messages. */
  void in(String part) {
    context = part;
  }

  /** {@return whether the last call found too few bytes} Asking resets it. */
  boolean wasStarved() {
    boolean was = starved;
    starved = false;
    return was;
  }

  /** Says that the next step cannot be taken yet. */
  void starve() {
    starved = true;
  }

  /** How many bytes of the stream were taken. */
  long taken() {
    return taken;
  }

  /** Where the current element begins. */
  long start() {
    return start;
  }

  /**
   * Collects bytes until the element has so many.
   *
   * @return false if the input ended before
   */
  boolean have(int wanted, ByteBuffer in) {
    if (length >= wanted) {
      return true;
    }
    if (wanted > MAX_ELEMENT_BYTES) {
      throw error("an element of more than " + MAX_ELEMENT_BYTES + " bytes");
    }
    if (wanted > bytes.length) {
      bytes = Arrays.copyOf(bytes, Math.max(wanted, 2 * bytes.length));
    }
    int n = Math.min(wanted - length, in.remaining());
    in.get(bytes, length, n);
    length += n;
    taken += n;
    starved = length < wanted;
    return !starved;
  }

  /** Moves bytes of the stream past this, to somewhere else. */
  int move(ByteBuffer in, ByteBuffer to) {
    int n = Math.min(in.remaining(), to.remaining());
    to.put(to.position(), in, in.position(), n).position(to.position() + n);
    in.position(in.position() + n);
    taken += n;
    return n;
  }

  int u8(int at) {
    return bytes[at] & 0xFF;
  }

  int u16(int at) {
    return u8(at) << 8 | u8(at + 1);
  }

  int i32(int at) {
    return u16(at) << 16 | u16(at + 2);
  }

  long u32(int at) {
    return i32(at) & 0xFFFF_FFFFL;
  }

  long i64(int at) {
    return u32(at) << 32 | u32(at + 4);
  }

  String text(int at, int count) {
    return new String(bytes, at, count, StandardCharsets.ISO_8859_1);
  }

  int length() {
    return length;
  }

  /** {@return the element's bytes} The next one begins after them. */
  ByteBuffer take() {
    ByteBuffer raw = ByteBuffer.wrap(Arrays.copyOf(bytes, length)).asReadOnlyBuffer();
    drop();
    return raw;
  }

  /** Forgets the element's bytes; the next one begins here. */
  void drop() {
    length = 0;
    start = taken;
  }

  /** A fault of the stream where the current element is. */
  MigrationException error(String what) {
    return MigrationException.of(
        Kind.PROTOCOL, "%s (at byte %d of QEMU's stream, in %s)".formatted(what, start, context));
  }

  /** The stream has ended where it may not. */
  MigrationException endedEarly() {
    return MigrationException.of(
        Kind.TRANSPORT,
        "QEMU's stream ended at byte %d, in the middle of %s: the migration was given up at the"
            .concat(" source, or the connection broke")
            .formatted(taken, context));
  }

  /** A name as people can read it, whatever it holds. */
  static String printable(String name) {
    StringBuilder text = new StringBuilder("'");
    for (int i = 0; i < Math.min(name.length(), 80); i++) {
      char c = name.charAt(i);
      text.append(c >= ' ' && c < 0x7F ? String.valueOf(c) : "\\x%02x".formatted((int) c));
    }
    return text.append(name.length() > 80 ? "…'" : "'").toString();
  }
}
