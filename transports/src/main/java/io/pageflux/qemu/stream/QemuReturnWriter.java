package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.QemuReturnFormat.BITMAP_END;
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

import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Makes the bytes of a return path, by which a destination answers its source's QEMU: what {@link
 * QemuReturnReader} reads.
 *
 * <p>Say nothing before the source has sent {@link QemuCommand#OPEN_RETURN_PATH}. What names no
 * block needs no writer: {@link #pong}, {@link #shut}, {@link #resumeAck}, {@link #switchoverAck}.
 *
 * <p>Source of the layout: QEMU, {@code migration/migration.c} and {@code migration/ram.c}; tried
 * against 7.2.
 *
 * <p><b>Ordering and threading:</b> messages are sent in the order in which they were made, on one
 * connection: a request without a name is about the block of the one before. Not for use by two
 * threads at once; the static methods are for any.
 *
 * <p><b>Memory bound:</b> a message, which is the caller's: up to 271 bytes, and for the pages that
 * have arrived, one bit for each page of the block besides.
 */
public final class QemuReturnWriter {

  /** The value of a {@link #shut} that says that the destination has everything. */
  public static final int SUCCESS = 0;

  /** A value of a {@link #shut} that says that it does not; so does any but 0. */
  public static final int FAILURE = 1;

  private final List<RamBlockLayout> blocks;
  private int requested = -1; // the block that a request without a name is about

  /**
   * Makes a writer for one connection.
   *
   * @param layout the blocks that have pages, as the stream has listed them
   */
  public QemuReturnWriter(RamLayout layout) {
    this.blocks = layout.blocks();
  }

  /** {@return the answer to a ping} */
  public static ByteBuffer pong(int value) {
    return number(TYPE_PONG, value);
  }

  /**
   * {@return that the destination has ended the migration} The source's QEMU reads nothing after
   * it.
   *
   * @param value {@link #SUCCESS}, or any other for a failure. A source whose guest has been given
   *     away in post-copy takes the latter for the loss of its guest, and not for one of the
   *     connection that can be recovered
   */
  public static ByteBuffer shut(int value) {
    return number(TYPE_SHUT, value);
  }

  /** {@return that the destination is ready to go on after the connection was lost} */
  public static ByteBuffer resumeAck() {
    return number(TYPE_RESUME_ACK, RESUME_ACK_VALUE);
  }

  /** {@return that the destination agrees to the guest's moving} To QEMU 8.1 and later only. */
  public static ByteBuffer switchoverAck() {
    return message(TYPE_SWITCHOVER_ACK, 0, 0).flip();
  }

  /**
   * {@return that somebody waits for some pages} QEMU wants whole host pages.
   *
   * @param block its place among those that have pages
   * @param firstPage the first one's index in the block
   * @param pages how many, at least 1
   * @throws IllegalArgumentException if the block has no such pages, or they have 4 GiB or more
   */
  public ByteBuffer pageRequest(int block, long firstPage, long pages) {
    RamBlockLayout of = blocks.get(block);
    if (firstPage < 0 || pages < 1 || pages > of.pageCount() - firstPage) {
      throw new IllegalArgumentException(
          "%d pages from page %d on are not in %s".formatted(pages, firstPage, of));
    }
    long bytes = pages * of.pageSizeBytes();
    if (bytes > 0xFFFF_FFFFL) {
      throw new IllegalArgumentException("a request for " + bytes + " bytes cannot be made");
    }
    boolean named = block != requested;
    byte[] name = named ? name(of) : new byte[0];
    ByteBuffer out =
        message(named ? TYPE_REQ_PAGES_ID : TYPE_REQ_PAGES, REQUEST_BYTES + name.length, 0);
    out.putLong(firstPage * of.pageSizeBytes()).putInt((int) bytes).put(name);
    requested = block;
    return out.flip();
  }

  /**
   * {@return which pages of a block have arrived: the answer to {@link QemuCommand#RECV_BITMAP}}
   *
   * @param block its place among those that have pages
   * @throws IllegalArgumentException if the set is not of the block's size
   */
  public ByteBuffer receivedPages(int block, PageSet pages) {
    RamBlockLayout of = blocks.get(block);
    if (pages.pageCount() != of.pageCount()) {
      throw new IllegalArgumentException(
          "a set of %d pages is not of %s".formatted(pages.pageCount(), of));
    }
    int bytes = Math.toIntExact((of.pageCount() + 63) / 64 * 8);
    byte[] name = name(of);
    ByteBuffer out = message(TYPE_RECV_BITMAP, name.length, 8 + bytes + 8);
    out.put(name).putLong(bytes);
    // Little-endian words, the lowest page in the lowest bit.
    ByteBuffer words = out.slice(out.position(), bytes).order(ByteOrder.LITTLE_ENDIAN);
    pages.forEachRun(
        (from, to) -> {
          for (long page = from; page < to; page++) {
            int word = (int) (page / 64 * 8);
            words.putLong(word, words.getLong(word) | 1L << page);
          }
        });
    out.position(out.position() + bytes).putLong(BITMAP_END);
    return out.flip();
  }

  /** {@return the message in bytes, as the method for its kind makes it} */
  public ByteBuffer write(QemuReturnMessage message) {
    return switch (message) {
      case QemuReturnMessage.Shut(int value) -> shut(value);
      case QemuReturnMessage.Pong(int value) -> pong(value);
      case QemuReturnMessage.PageRequest(int block, long first, long pages) ->
          pageRequest(block, first, pages);
      case QemuReturnMessage.ReceivedPages(int block, PageSet pages) -> receivedPages(block, pages);
      case QemuReturnMessage.ResumeAck() -> resumeAck();
      case QemuReturnMessage.SwitchoverAck() -> switchoverAck();
    };
  }

  private static ByteBuffer number(int type, int value) {
    return message(type, 4, 0).putInt(value).flip();
  }

  /** A message's header, with room for its payload and for what comes behind it. */
  private static ByteBuffer message(int type, int payloadBytes, int behindBytes) {
    return ByteBuffer.allocate(Math.addExact(HEADER_BYTES + payloadBytes, behindBytes))
        .putShort((short) type)
        .putShort((short) payloadBytes);
  }

  private static byte[] name(RamBlockLayout block) {
    byte[] text = block.name().getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(1 + text.length).put((byte) text.length).put(text).array();
  }
}
