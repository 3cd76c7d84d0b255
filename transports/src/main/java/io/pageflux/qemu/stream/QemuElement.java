package io.pageflux.qemu.stream;

import io.pageflux.page.PageBatch;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * A part of QEMU's stream. The {@link #raw()} bytes of all elements, with page records in the
 * places of {@link Pages}, are the stream.
 */
public sealed interface QemuElement {

  /** {@return the bytes that this is in the stream, read-only; none for {@link Pages}} */
  ByteBuffer raw();

  /** {@return where in the stream this begins, in bytes} */
  long offset();

  /**
   * The first eight bytes.
   *
   * @param version of the stream's format: 3
   */
  record Header(int version, ByteBuffer raw, long offset) implements QemuElement {}

  /**
   * What the sender is.
   *
   * @param machineType as {@code pc-i440fx-7.2}; a receiver of another type refuses it
   */
  record Configuration(String machineType, ByteBuffer raw, long offset) implements QemuElement {}

  /**
   * Something that the receiver has to have in common with the sender.
   *
   * @param name as {@code configuration/capabilities}
   * @param capabilities those that both sides must have, of the few that QEMU compares
   */
  record ConfigurationPart(String name, List<String> capabilities, ByteBuffer raw, long offset)
      implements QemuElement {}

  /**
   * A command to the receiver.
   *
   * @param command which one
   */
  record Command(QemuCommand command, ByteBuffer raw, long offset) implements QemuElement {}

  /**
   * A section begins.
   *
   * @param type what kind of section
   * @param id the number that the sender has given it
   */
  record SectionBegin(SectionType type, int id, ByteBuffer raw, long offset)
      implements QemuElement {}

  /**
   * The RAM blocks, at the start of the first RAM section.
   *
   * @param layout the blocks
   */
  record RamBlocks(QemuRamLayout layout, ByteBuffer raw, long offset) implements QemuElement {}

  /**
   * Pages of one block in ascending order. QEMU's XBZRLE is a {@link
   * io.pageflux.page.PageKind#DELTA}.
   *
   * @param batch owned by whoever holds this
   */
  record Pages(PageBatch batch, long offset) implements QemuElement {

    private static final ByteBuffer NONE = ByteBuffer.allocate(0).asReadOnlyBuffer();

    @Override
    public ByteBuffer raw() {
      return NONE;
    }
  }

  /** The data of a RAM section end here; with multifd, up to version 8.0, also a point of order. */
  record EndOfRamData(ByteBuffer raw, long offset) implements QemuElement {}

  /** A point of order between this connection and those of multifd, since version 8.1. */
  record MultifdFlush(ByteBuffer raw, long offset) implements QemuElement {}

  /**
   * A section ends.
   *
   * @param id the section's number
   * @param endsRam whether all of RAM has been sent, so that only devices follow
   */
  record Footer(int id, boolean endsRam, ByteBuffer raw, long offset) implements QemuElement {}

  /** A piece of what follows RAM: the devices' state, the end, and its description. */
  record DeviceTail(ByteBuffer raw, long offset) implements QemuElement {}
}
