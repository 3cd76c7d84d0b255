package io.pageflux.qemu.stream;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * Writes QEMU's stream: page records from batches, and the pieces around them.
 *
 * <p>The records are those that every QEMU since 1.2 loads, whatever its capabilities: ZERO, PAGE,
 * and XBZRLE for deltas, for which a receiver needs to have what was sent of the page before.
 *
 * <p><b>Ordering and threading:</b> a record leaves out the name of its block if the one before it
 * was of the same, so the bytes must be sent in the order in which they were written. Not for use
 * by two threads at once.
 *
 * <p><b>Memory bound:</b> none; it writes into the caller's buffers.
 */
public final class QemuStreamWriter {

  /** The number that the RAM section gets. Any will do; QEMU's own depends on the machine. */
  public static final int RAM_SECTION = 2;

  private static final int MAX_NAME_BYTES = 255;

  private String currentBlock = "";

  /** Makes a writer at the start of a stream. */
  public QemuStreamWriter() {}

  /** {@return the most bytes that the records of a batch take} */
  public static int mostBytes(PageBatch batch) {
    return batch.size() * (8 + 3) + 1 + MAX_NAME_BYTES + batch.payloadBytes();
  }

  /**
   * Writes the records of a batch's pages. The batch is not released.
   *
   * @param out has {@link #mostBytes} remaining
   * @throws IllegalStateException if the batch is compressed
   */
  public void write(PageBatch batch, ByteBuffer out) {
    if (batch.isCompressed()) {
      throw new IllegalStateException("the batch is compressed: decompress it first");
    }
    ByteBuffer contents = batch.lease().buffer();
    int at = batch.payloadOffset();
    for (int i = 0; i < batch.size(); i++) {
      PageKind kind = batch.kind(i);
      int length = batch.length(i);
      putHeader(batch.block(), batch.page(i), flag(kind), out);
      switch (kind) {
        case ZERO -> out.put((byte) 0);
        case RAW -> {}
        case DELTA -> out.put((byte) QemuFormat.ENCODING_XBZRLE).putShort((short) length);
      }
      out.put(out.position(), contents, at, length).position(out.position() + length);
      at += length;
    }
  }

  private static int flag(PageKind kind) {
    return switch (kind) {
      case ZERO -> QemuFormat.FLAG_ZERO;
      case RAW -> QemuFormat.FLAG_PAGE;
      case DELTA -> QemuFormat.FLAG_XBZRLE;
    };
  }

  private void putHeader(RamBlockLayout block, long page, int flag, ByteBuffer out) {
    long offset = page * block.pageSizeBytes();
    if (block.name().equals(currentBlock)) {
      out.putLong(offset | flag | QemuFormat.FLAG_CONTINUE);
    } else {
      byte[] name = name(block.name());
      out.putLong(offset | flag).put((byte) name.length).put(name);
      currentBlock = block.name();
    }
  }

  private static byte[] name(String name) {
    // The reader takes bytes for letters, one to one, so that any name comes back as it was.
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    if (bytes.length > MAX_NAME_BYTES) {
      throw new IllegalArgumentException("a name of " + bytes.length + " bytes: " + name);
    }
    return bytes;
  }

  /** Writes bytes for {@link #piece}. */
  @FunctionalInterface
  private interface Body {
    void write(DataOutputStream out) throws IOException;
  }

  private static ByteBuffer piece(Body body) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (DataOutputStream out = new DataOutputStream(bytes)) {
      body.write(out);
    } catch (IOException e) {
      throw new UncheckedIOException(e); // not from an array
    }
    return ByteBuffer.wrap(bytes.toByteArray());
  }

  /**
   * {@return the beginning of a stream: header and configuration}
   *
   * @param machineType as {@code pc-i440fx-7.2}: QEMU refuses the stream of another machine
   */
  public static ByteBuffer begin(String machineType) {
    return piece(
        out -> {
          out.writeInt(QemuFormat.MAGIC);
          out.writeInt(QemuFormat.VERSION);
          byte[] name = name(machineType);
          out.writeByte(QemuFormat.CONFIGURATION);
          out.writeInt(name.length);
          out.write(name);
        });
  }

  /**
   * {@return the first RAM section, without pages}
   *
   * @param layout the blocks: all that will be sent; others of the receiver's stay as they are
   */
  public static ByteBuffer ramStart(QemuRamLayout layout) {
    return piece(
        out -> {
          out.writeByte(QemuFormat.SECTION_START);
          out.writeInt(RAM_SECTION);
          out.writeByte(3);
          out.writeBytes("ram");
          out.writeInt(0);
          out.writeInt(QemuFormat.RAM_VERSION);
          out.writeLong(layout.totalBytes() | QemuFormat.FLAG_MEM_SIZE);
          for (QemuRamLayout.Block block : layout.blocks()) {
            byte[] name = name(block.name());
            out.writeByte(name.length);
            out.write(name);
            out.writeLong(block.usedLengthBytes());
            if (block.guestPhysicalAddress().isPresent()) {
              out.writeLong(block.guestPhysicalAddress().getAsLong());
            }
          }
          putSectionEnd(out);
        });
  }

  /** {@return what comes before some page records: a PART of RAM, or its END} */
  public static ByteBuffer sectionBegin(boolean last) {
    return piece(
        out -> {
          out.writeByte(last ? QemuFormat.SECTION_END : QemuFormat.SECTION_PART);
          out.writeInt(RAM_SECTION);
        });
  }

  /** {@return what comes after some page records} */
  public static ByteBuffer sectionEnd() {
    return piece(QemuStreamWriter::putSectionEnd);
  }

  private static void putSectionEnd(DataOutputStream out) throws IOException {
    out.writeLong(QemuFormat.FLAG_EOS);
    out.writeByte(QemuFormat.FOOTER);
    out.writeInt(RAM_SECTION);
  }

  /** {@return the end of a stream without devices} */
  public static ByteBuffer end() {
    return piece(
        out -> {
          out.writeByte(QemuFormat.EOF);
          // QEMU looks for a description of the devices, and complains where there is none.
          out.writeByte(QemuFormat.VM_DESCRIPTION);
          out.writeInt(0);
        });
  }
}
