package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The bytes of the element or record that is being read, and where in the stream they are.
 *
 * <p>It grows with the bytes that have come, and not with those that were promised.
 */
final class Piece {

  private byte[] bytes = new byte[512];
  private ByteBuffer view = ByteBuffer.wrap(bytes);
  private int size;
  private long start;
  private long position;
  private String section = "the header";

  /** Takes bytes until there are so many. {@return whether there are} */
  boolean fill(ByteBuffer in, int wanted) {
    int n = Math.min(wanted - size, in.remaining());
    if (n > 0) {
      if (size + n > bytes.length) {
        bytes = Arrays.copyOf(bytes, Math.max(size + n, bytes.length * 2));
        view = ByteBuffer.wrap(bytes);
      }
      in.get(bytes, size, n);
      size += n;
      position += n;
    }
    return size >= wanted;
  }

  int size() {
    return size;
  }

  int u8(int at) {
    return bytes[at] & 0xFF;
  }

  int u16(int at) {
    return view.getShort(at) & 0xFFFF;
  }

  int i32(int at) {
    return view.getInt(at);
  }

  long i64(int at) {
    return view.getLong(at);
  }

  ByteBuffer slice(int at, int length) {
    return ByteBuffer.wrap(Arrays.copyOfRange(bytes, at, at + length)).asReadOnlyBuffer();
  }

  /** Reads a name, which has to be UTF-8. */
  String text(int at, int length, String what) {
    try {
      return StandardCharsets.UTF_8
          .newDecoder()
          .decode(ByteBuffer.wrap(bytes, at, length))
          .toString();
    } catch (CharacterCodingException e) {
      throw fault(Kind.PROTOCOL, start + at, what + " is not UTF-8: the stream is damaged");
    }
  }

  /** Takes what has come as an element's bytes, and begins the next piece. */
  ByteBuffer take() {
    ByteBuffer taken = slice(0, size);
    next();
    return taken;
  }

  /** Takes the first bytes of what has come; the others begin the next piece. */
  ByteBuffer take(int bytesOfElement) {
    ByteBuffer taken = slice(0, bytesOfElement);
    System.arraycopy(bytes, bytesOfElement, bytes, 0, size - bytesOfElement);
    size -= bytesOfElement;
    start += bytesOfElement;
    return taken;
  }

  /** Begins the next piece here. */
  void next() {
    size = 0;
    start = position;
  }

  /** Takes bytes that nobody here looks into, where no piece has begun. */
  ByteBuffer passOn(ByteBuffer in, int n) {
    byte[] passed = new byte[n];
    in.get(passed);
    passed(n);
    next();
    return ByteBuffer.wrap(passed).asReadOnlyBuffer();
  }

  /** Counts bytes of the stream that somebody else took. */
  void passed(int n) {
    position += n;
  }

  /** Where the piece begins in the stream. */
  long start() {
    return start;
  }

  /** How many bytes of the stream have been taken. */
  long position() {
    return position;
  }

  /** Says what is being read now, for the messages. */
  void enter(String section) {
    this.section = section;
  }

  String section() {
    return section;
  }

  MigrationException fault(Kind kind, long at, String what) {
    return MigrationException.of(
        kind, "byte %d of the QEMU stream, in %s: %s".formatted(at, section, what));
  }

  /** A breach of the format by what is at a place of this piece. */
  MigrationException protocol(int at, String what) {
    return fault(Kind.PROTOCOL, start + at, what);
  }
}
