package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.QemuReturnFormat.HEADER_BYTES;
import static io.pageflux.qemu.stream.QemuReturnFormat.REQUEST_BYTES;
import static io.pageflux.qemu.stream.QemuReturnFormat.RESUME_ACK_VALUE;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_PONG;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_RECV_BITMAP;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_REQ_PAGES;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_REQ_PAGES_ID;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_RESUME_ACK;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_SHUT;
import static io.pageflux.qemu.stream.QemuReturnFormat.TYPE_SWITCHOVER_ACK;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Turns the bytes of a return path, from a destination's QEMU to its source, into messages.
 *
 * <p>A message is taken whole or not at all, and nothing in it is believed: a request has to be for
 * whole pages of a block, a bitmap has to have the block's size.
 *
 * <p>Source of the layout: QEMU, {@code migration/migration.c} and {@code migration/ram.c}; tried
 * against 7.2.
 *
 * <p><b>Ordering and threading:</b> messages come in the order of the bytes. Not for use by two
 * threads at once.
 *
 * <p><b>Memory bound:</b> 600 bytes, the names of the blocks, and while a bitmap comes one bit for
 * each page of its block.
 *
 * <p><b>Errors:</b> every fault is a {@link MigrationException} that says at which byte: of kind
 * {@code PROTOCOL} if a message is wrong or not known, {@code TRANSPORT} if the bytes end in the
 * middle of one. After one the reader cannot be used any more.
 */
public final class QemuReturnReader {

  private enum State {
    HEADER,
    PAYLOAD,
    BITMAP_SIZE,
    BITMAP,
    BITMAP_END,
    FAILED
  }

  private final List<RamBlockLayout> blocks;
  private final Map<String, Integer> indices = new HashMap<>();
  private final ByteBuffer piece = ByteBuffer.allocate(512 + HEADER_BYTES);
  private State state = State.HEADER;
  private long position;
  private long messageStart;
  private int type;
  private int length;
  private int requested = -1; // the block that a request without a name is about
  private int bitmapBlock;
  private @Nullable PageSet bitmap;
  private long bitmapPage;

  /**
   * Makes a reader.
   *
   * @param layout the blocks that have pages; its page size is the guest's
   */
  public QemuReturnReader(RamLayout layout) {
    this.blocks = layout.blocks();
    for (int i = 0; i < blocks.size(); i++) {
      indices.put(blocks.get(i).name(), i);
    }
    want(HEADER_BYTES);
  }

  private void want(int bytes) {
    piece.clear().limit(bytes);
  }

  /** {@return how many bytes have been read} */
  public long bytesRead() {
    return position;
  }

  /**
   * Takes bytes until a message is complete. Call it again with the same buffer until it returns
   * null.
   *
   * @param in the next bytes; its position moves behind those that were taken
   * @return the next message, or null if all bytes were taken
   * @throws MigrationException if a message is at fault
   * @throws IllegalStateException if one was before
   */
  public @Nullable QemuReturnMessage read(ByteBuffer in) {
    if (state == State.FAILED) {
      throw new IllegalStateException("the reader has failed before");
    }
    while (fill(in)) {
      piece.flip();
      QemuReturnMessage message = step();
      if (message != null) {
        return message;
      }
    }
    return null;
  }

  private boolean fill(ByteBuffer in) {
    int n = Math.min(piece.remaining(), in.remaining());
    piece.put(in.slice(in.position(), n));
    in.position(in.position() + n);
    position += n;
    return !piece.hasRemaining();
  }

  private @Nullable QemuReturnMessage step() {
    switch (state) {
      case HEADER -> readHeader();
      case PAYLOAD -> {
        return payload();
      }
      case BITMAP_SIZE -> readBitmapSize();
      case BITMAP -> readBitmapWord();
      case BITMAP_END -> {
        return bitmapEnd();
      }
      case FAILED -> throw new IllegalStateException();
    }
    return null;
  }

  private void begin() {
    messageStart = position;
    state = State.HEADER;
    want(HEADER_BYTES);
  }

  private void readHeader() {
    type = piece.getShort() & 0xFFFF;
    length = piece.getShort() & 0xFFFF;
    boolean fits =
        switch (type) {
          case TYPE_SHUT, TYPE_PONG, TYPE_RESUME_ACK -> length == 4;
          case TYPE_REQ_PAGES -> length == REQUEST_BYTES;
          case TYPE_REQ_PAGES_ID ->
              length >= REQUEST_BYTES + 2 && length <= REQUEST_BYTES + 1 + 255;
          case TYPE_RECV_BITMAP -> length >= 2 && length <= 1 + 255;
          case TYPE_SWITCHOVER_ACK -> length == 0;
          default -> throw wrong("type %d is not known".formatted(type));
        };
    if (!fits) {
      throw wrong("%s with %d bytes".formatted(name(), length));
    }
    state = State.PAYLOAD;
    want(length);
    // An empty payload is complete as it is.
  }

  private String name() {
    return switch (type) {
      case TYPE_SHUT -> "SHUT";
      case TYPE_PONG -> "PONG";
      case TYPE_REQ_PAGES_ID -> "REQ_PAGES_ID";
      case TYPE_REQ_PAGES -> "REQ_PAGES";
      case TYPE_RECV_BITMAP -> "RECV_BITMAP";
      case TYPE_RESUME_ACK -> "RESUME_ACK";
      case TYPE_SWITCHOVER_ACK -> "SWITCHOVER_ACK";
      default -> "type " + type;
    };
  }

  private @Nullable QemuReturnMessage payload() {
    QemuReturnMessage message;
    switch (type) {
      case TYPE_SHUT -> message = new QemuReturnMessage.Shut(piece.getInt());
      case TYPE_PONG -> message = new QemuReturnMessage.Pong(piece.getInt());
      case TYPE_REQ_PAGES -> {
        if (requested < 0) {
          throw wrong("REQ_PAGES before any that names a block");
        }
        message = request(piece.getLong(), piece.getInt());
      }
      case TYPE_REQ_PAGES_ID -> {
        long start = piece.getLong();
        int bytes = piece.getInt();
        requested = block();
        message = request(start, bytes);
      }
      case TYPE_RESUME_ACK -> {
        int value = piece.getInt();
        if (value != RESUME_ACK_VALUE) {
          throw wrong("RESUME_ACK with the value %d, where 1 has to be".formatted(value));
        }
        message = new QemuReturnMessage.ResumeAck();
      }
      case TYPE_SWITCHOVER_ACK -> message = new QemuReturnMessage.SwitchoverAck();
      default -> {
        bitmapBlock = block();
        state = State.BITMAP_SIZE;
        want(8);
        return null;
      }
    }
    begin();
    return message;
  }

  /** Reads a block's name, which has to fill the rest of the message. */
  private int block() {
    int nameBytes = piece.get() & 0xFF;
    if (nameBytes != piece.remaining()) {
      throw wrong("%s with a block's name of %d bytes, of %d".formatted(name(), nameBytes, length));
    }
    String block;
    try {
      block = StandardCharsets.UTF_8.newDecoder().decode(piece).toString();
    } catch (CharacterCodingException e) {
      throw wrong(name() + " with a block's name that is not UTF-8");
    }
    Integer index = indices.get(block);
    if (index == null) {
      throw wrong("%s for RAM block '%s', which the stream did not list".formatted(name(), block));
    }
    return index;
  }

  private QemuReturnMessage request(long start, int length) {
    RamBlockLayout block = blocks.get(requested);
    long bytes = length & 0xFFFF_FFFFL;
    int page = block.pageSizeBytes();
    if (start < 0 || start >= block.sizeBytes() || bytes > block.sizeBytes() - start) {
      throw wrong(
          "a request for %d bytes at offset 0x%x of RAM block '%s', which has 0x%x bytes"
              .formatted(bytes, start, block.name(), block.sizeBytes()));
    }
    if (bytes == 0 || (start | bytes) % page != 0) {
      throw wrong(
          "a request for %d bytes at offset 0x%x of RAM block '%s', whose pages have %d bytes"
              .formatted(bytes, start, block.name(), page));
    }
    return new QemuReturnMessage.PageRequest(requested, start / page, bytes / page);
  }

  private void readBitmapSize() {
    long size = piece.getLong();
    RamBlockLayout block = blocks.get(bitmapBlock);
    long expected = (block.pageCount() + 63) / 64 * 8;
    if (size != expected) {
      throw wrong(
          "a bitmap of %s bytes for RAM block '%s', whose %d pages take %d"
              .formatted(Long.toUnsignedString(size), block.name(), block.pageCount(), expected));
    }
    bitmap = new PageSet(block.pageCount());
    bitmapPage = 0;
    state = State.BITMAP;
    want(8);
  }

  private void readBitmapWord() {
    PageSet pages = bitmap();
    // Little-endian words, the lowest page in the lowest bit; behind the last page may be anything.
    long word = Long.reverseBytes(piece.getLong());
    for (long rest = word; rest != 0; rest &= rest - 1) {
      long page = bitmapPage + Long.numberOfTrailingZeros(rest);
      if (page < pages.pageCount()) {
        pages.add(page);
      }
    }
    bitmapPage += 64;
    if (bitmapPage >= pages.pageCount()) {
      state = State.BITMAP_END;
    }
    want(8);
  }

  private PageSet bitmap() {
    if (bitmap == null) {
      throw new IllegalStateException();
    }
    return bitmap;
  }

  private QemuReturnMessage bitmapEnd() {
    long end = piece.getLong();
    if (end != QemuReturnFormat.BITMAP_END) {
      throw wrong("0x%016x where the bitmap's end mark has to be".formatted(end));
    }
    QemuReturnMessage message = new QemuReturnMessage.ReceivedPages(bitmapBlock, bitmap());
    bitmap = null;
    begin();
    return message;
  }

  /**
   * Says that no more bytes come.
   *
   * @throws MigrationException of kind {@code TRANSPORT} if a message is not complete
   */
  public void end() {
    if (state != State.HEADER || piece.position() > 0) {
      throw MigrationException.of(
          Kind.TRANSPORT,
          "the return path ended after byte %d, in the middle of the message that began at byte %d"
              .formatted(position, messageStart));
    }
  }

  private MigrationException wrong(String what) {
    state = State.FAILED;
    return MigrationException.of(
        Kind.PROTOCOL, "byte %d of QEMU's return path: %s".formatted(messageStart, what));
  }
}
