package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * What post-copy's commands carry: made, and read.
 *
 * <p>Source of the layout: QEMU, {@code migration/savevm.c}; tried against 7.2.
 *
 * <p>Reading throws a {@link MigrationException} of kind {@code PROTOCOL} that says what is wrong.
 * The buffers that are read keep their position.
 */
public final class PostcopyPayload {

  /** The most ranges that a discard should carry: QEMU never sends more. */
  public static final int DISCARD_RANGES = 12;

  private static final int DISCARD_VERSION = 0;
  private static final int RANGE_BYTES = 16;

  private PostcopyPayload() {}

  /**
   * What {@link QemuCommand#POSTCOPY_ADVISE} says.
   *
   * @param blockPageSizes the host page sizes of all RAM blocks in bytes, each a power of two, in
   *     one sum without repetition; the destination's must be the same
   * @param targetPageBytes the size of the guest's pages
   */
  public record Advice(long blockPageSizes, long targetPageBytes) {

    /** {@return the payload} */
    public ByteBuffer payload() {
      return ByteBuffer.allocate(16).putLong(blockPageSizes).putLong(targetPageBytes).flip();
    }

    /** Reads a payload. */
    public static Advice of(ByteBuffer payload) {
      if (payload.remaining() != 16) {
        throw wrong(QemuCommand.POSTCOPY_ADVISE, payload.remaining() + " bytes, where 16 may be");
      }
      int at = payload.position();
      Advice advice = new Advice(payload.getLong(at), payload.getLong(at + 8));
      if (Long.bitCount(advice.targetPageBytes) != 1 || advice.blockPageSizes == 0) {
        throw wrong(
            QemuCommand.POSTCOPY_ADVISE,
            "pages of %#x bytes, and blocks with pages of %#x"
                .formatted(advice.targetPageBytes, advice.blockPageSizes));
      }
      return advice;
    }
  }

  /** A range of a block, in bytes. */
  public record Range(long startBytes, long lengthBytes) {}

  /**
   * What {@link QemuCommand#POSTCOPY_RAM_DISCARD} says: what the destination has of these ranges,
   * be it nothing, is not valid.
   */
  public record Discard(String block, List<Range> ranges) {

    /** {@return the payload} */
    public ByteBuffer payload() {
      byte[] name = nameBytes(block);
      ByteBuffer out = ByteBuffer.allocate(3 + name.length + ranges.size() * RANGE_BYTES);
      out.put((byte) DISCARD_VERSION).put((byte) name.length).put(name).put((byte) 0);
      for (Range range : ranges) {
        out.putLong(range.startBytes).putLong(range.lengthBytes);
      }
      return out.flip();
    }

    /** Reads a payload. */
    public static Discard of(ByteBuffer payload) {
      ByteBuffer in = payload.duplicate();
      if (in.remaining() < 2) {
        throw wrong(QemuCommand.POSTCOPY_RAM_DISCARD, in.remaining() + " bytes");
      }
      int version = in.get() & 0xFF;
      if (version != DISCARD_VERSION) {
        throw wrong(QemuCommand.POSTCOPY_RAM_DISCARD, "version " + version + ", and only 0 is");
      }
      String block = readName(in, QemuCommand.POSTCOPY_RAM_DISCARD);
      if (!in.hasRemaining() || in.get() != 0) {
        throw wrong(QemuCommand.POSTCOPY_RAM_DISCARD, "no zero behind the block's name");
      }
      if (!in.hasRemaining() || in.remaining() % RANGE_BYTES != 0) {
        throw wrong(QemuCommand.POSTCOPY_RAM_DISCARD, in.remaining() + " bytes of ranges");
      }
      List<Range> ranges = new ArrayList<>(in.remaining() / RANGE_BYTES);
      while (in.hasRemaining()) {
        ranges.add(new Range(in.getLong(), in.getLong()));
      }
      return new Discard(block, List.copyOf(ranges));
    }
  }

  /** {@return the payload of {@link QemuCommand#PACKAGED}, behind which so many bytes follow} */
  public static ByteBuffer packaged(long bytes) {
    if (bytes < 1 || bytes > 0xFFFF_FFFFL) {
      throw new IllegalArgumentException("a package of " + bytes + " bytes cannot be sent");
    }
    return ByteBuffer.allocate(4).putInt((int) bytes).flip();
  }

  /** {@return how many bytes follow behind a {@link QemuCommand#PACKAGED}} */
  public static long packagedBytes(ByteBuffer payload) {
    if (payload.remaining() != 4) {
      throw wrong(QemuCommand.PACKAGED, payload.remaining() + " bytes, where 4 may be");
    }
    return payload.getInt(payload.position()) & 0xFFFF_FFFFL;
  }

  /** {@return the payload of {@link QemuCommand#RECV_BITMAP}: which pages of a block are there?} */
  public static ByteBuffer receivedBitmap(String block) {
    byte[] name = nameBytes(block);
    return ByteBuffer.allocate(1 + name.length).put((byte) name.length).put(name).flip();
  }

  /** {@return which block a {@link QemuCommand#RECV_BITMAP} asks about} */
  public static String receivedBitmapBlock(ByteBuffer payload) {
    ByteBuffer in = payload.duplicate();
    if (!in.hasRemaining()) {
      throw wrong(QemuCommand.RECV_BITMAP, "no bytes");
    }
    String block = readName(in, QemuCommand.RECV_BITMAP);
    if (in.hasRemaining()) {
      throw wrong(QemuCommand.RECV_BITMAP, in.remaining() + " bytes behind the block's name");
    }
    return block;
  }

  private static byte[] nameBytes(String block) {
    byte[] name = block.getBytes(StandardCharsets.UTF_8);
    if (name.length == 0 || name.length > 255) {
      throw new IllegalArgumentException(
          "a RAM block's name of " + name.length + " bytes, where 1 to 255 may be");
    }
    return name;
  }

  private static String readName(ByteBuffer in, QemuCommand command) {
    int length = in.get() & 0xFF;
    if (length == 0 || length > in.remaining()) {
      throw wrong(command, "a block's name of %d bytes, of %d".formatted(length, in.remaining()));
    }
    ByteBuffer name = in.slice(in.position(), length);
    in.position(in.position() + length);
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(name).toString();
    } catch (CharacterCodingException e) {
      throw wrong(command, "a block's name that is not UTF-8");
    }
  }

  private static MigrationException wrong(QemuCommand command, String what) {
    return MigrationException.of(Kind.PROTOCOL, command + " with " + what);
  }
}
