package io.pageflux.qemu.stream;

import io.pageflux.page.PageBatch;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.OptionalInt;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * A piece of QEMU's migration stream.
 *
 * <p>The {@linkplain #raw() raw} bytes of all elements, one after the other, with page records
 * where {@link Pages} stand, are a stream equivalent to the one that was read: nothing but page
 * records is left out, and the order is that of the stream.
 *
 * <p><b>Ownership:</b> {@link Pages} own a slab, and whoever received them last {@linkplain
 * #release() releases} it. The other elements are immutable and need no release.
 */
public sealed interface QemuElement {

  /** The most bytes of {@link DeviceTail} that one element carries. */
  int MAX_TAIL_PIECE_BYTES = 64 << 10;

  /**
   * {@return the exact bytes of the stream that this is, read-only and on the heap, with a position
   * of its own; none for {@link Pages}} At most {@link #MAX_TAIL_PIECE_BYTES} and 5 more, but for
   * {@link RamBlocks}, which have up to 1.3 MiB.
   */
  ByteBuffer raw();

  /** {@return where this begins in the stream, in bytes; for {@link Pages}, its first record} */
  long offset();

  /** Gives the slab of {@link Pages} back; the other elements have nothing to give. */
  default void release() {}

  /**
   * The first bytes of a stream.
   *
   * @param version always 3
   */
  record Header(ByteBuffer raw, long offset, int version) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /**
   * What the destination's machine has to be.
   *
   * @param machineType such as {@code pc-i440fx-7.2}
   * @param capabilities those that both sides must have switched on, such as {@code
   *     x-ignore-shared}
   * @param targetPageBits the target page size's logarithm, where the stream says it
   * @param uuid the machine's, where the stream says it
   */
  record Configuration(
      ByteBuffer raw,
      long offset,
      String machineType,
      List<String> capabilities,
      OptionalInt targetPageBits,
      @Nullable UUID uuid)
      implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /**
   * A command to the destination; only those of pre-copy are read, unless post-copy is expected.
   *
   * @param payload read-only: the number of a {@link QemuCommand#PING}, what {@link
   *     PostcopyPayload} reads; else empty
   */
  record Command(ByteBuffer raw, long offset, QemuCommand command, ByteBuffer payload)
      implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }

    @Override
    public ByteBuffer payload() {
      return payload.duplicate();
    }
  }

  /**
   * The first section of the RAM begins; {@link RamBlocks} is next.
   *
   * @param id what the later sections refer to
   * @param name always {@code ram}
   * @param instance always 0
   * @param version always 4
   */
  record SectionStart(ByteBuffer raw, long offset, int id, String name, int instance, int version)
      implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /** The list of RAM blocks. {@code pageSizeBytes} is the size of the pages that will come. */
  record RamBlocks(ByteBuffer raw, long offset, QemuRamLayout layout, int pageSizeBytes)
      implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /**
   * A piece of the package that follows a {@link QemuCommand#PACKAGED}: the devices' state, and
   * post-copy's other commands.
   */
  record Packaged(ByteBuffer raw, long offset) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /** A further section of the RAM begins. */
  record SectionPart(ByteBuffer raw, long offset, int id) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /** The last section of the RAM begins. */
  record SectionEnd(ByteBuffer raw, long offset, int id) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /**
   * A section of the RAM has no more records (EOS); its {@link Footer} is next. With multifd before
   * QEMU 8.1, and in older machine types, this is a synchronisation point besides.
   */
  record EndOfRamData(ByteBuffer raw, long offset) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /** All multifd channels are to be read up to their next SYNC before going on; since QEMU 8.1. */
  record MultifdFlush(ByteBuffer raw, long offset) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /** A section has ended. */
  record Footer(ByteBuffer raw, long offset, int id) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }

  /**
   * Some pages of one block, in ascending order: ZERO, RAW, and DELTA as QEMU encoded it.
   *
   * @param batch the receiver's to release
   */
  record Pages(long offset, PageBatch batch) implements QemuElement {

    private static final ByteBuffer NONE = ByteBuffer.allocate(0).asReadOnlyBuffer();

    @Override
    public ByteBuffer raw() {
      return NONE.duplicate();
    }

    @Override
    public void release() {
      batch.release();
    }
  }

  /**
   * A piece of what comes after the RAM: the devices' state, the end marker and its description.
   */
  record DeviceTail(ByteBuffer raw, long offset) implements QemuElement {
    @Override
    public ByteBuffer raw() {
      return raw.duplicate();
    }
  }
}
