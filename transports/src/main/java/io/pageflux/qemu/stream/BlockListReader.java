package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Reads the list of RAM blocks, of which the record with the total has been read. */
final class BlockListReader {

  private enum State {
    NAME_LENGTH,
    NAME,
    FIELDS,
    /** In post-copy: the first byte of the block's page size, or the next name's length. */
    AFTER_BLOCK,
    /** Behind the last block, it may be the next record. */
    PAGE_SIZE
  }

  private final Piece piece;
  private final int pageSizeBytes;
  private final boolean withAddress;
  private final long hostPageSizes;
  private final long total;
  private final List<QemuRamLayout.Block> blocks = new ArrayList<>();
  private final Set<String> names = new HashSet<>();
  private State state = State.NAME_LENGTH;
  private int wanted;
  private int nameLength;
  private String name = "";
  private long left;
  private int listBytes;

  /**
   * Begins.
   *
   * @param piece holds the 8 bytes of the first record
   * @param withAddress whether each block comes with its guest physical address
   * @param hostPageSizes in post-copy, the sizes that host pages have, in one sum; else 0
   */
  BlockListReader(Piece piece, int pageSizeBytes, boolean withAddress, long hostPageSizes) {
    this.piece = piece;
    this.pageSizeBytes = pageSizeBytes;
    this.withAddress = withAddress;
    // The source's own size is not said again, and is taken to be the least.
    this.hostPageSizes = hostPageSizes & ~Long.lowestOneBit(hostPageSizes);
    this.total = piece.i64(0) & -pageSizeBytes;
    this.left = total;
    this.wanted = piece.size() + 1;
    if (total <= 0) {
      throw piece.protocol(0, "a total RAM size of " + Long.toUnsignedString(total) + " bytes");
    }
  }

  /** Goes on reading. {@return the list, or null if the bytes do not suffice} */
  @Nullable QemuRamLayout read(ByteBuffer in) {
    while (piece.fill(in, wanted)) {
      int size = piece.size();
      switch (state) {
        case NAME_LENGTH -> {
          nameLength = piece.u8(size - 1);
          if (nameLength == 0) {
            throw piece.protocol(size - 1, "a RAM block without a name");
          }
          if (blocks.size() == QemuRamLayout.MAX_BLOCKS) {
            throw piece.protocol(
                size - 1,
                "more than %d RAM blocks, and %d bytes of the total of %d are left"
                    .formatted(QemuRamLayout.MAX_BLOCKS, left, total));
          }
          want(State.NAME, nameLength);
        }
        case NAME -> {
          name = piece.text(size - nameLength, nameLength, "a RAM block's name");
          if (!names.add(name)) {
            throw piece.protocol(
                size - nameLength, "RAM block '%s' is listed twice".formatted(name));
          }
          want(State.FIELDS, withAddress ? 16 : 8);
        }
        case FIELDS -> {
          readBlock(withAddress ? size - 16 : size - 8);
          if (hostPageSizes == 0) {
            if (left == 0) {
              return list(size);
            }
            want(State.NAME_LENGTH, 1);
          } else if (left == 0) {
            want(State.PAGE_SIZE, 8);
          } else {
            want(State.AFTER_BLOCK, 1);
          }
        }
        case AFTER_BLOCK -> {
          if (piece.u8(size - 1) == 0) {
            want(State.PAGE_SIZE, 7); // no name is empty
          } else {
            state = State.NAME_LENGTH;
          }
        }
        case PAGE_SIZE -> {
          boolean said = readPageSize(size - 8);
          if (left == 0) {
            return list(said ? size : size - 8);
          }
          want(State.NAME_LENGTH, 1);
        }
      }
    }
    return null;
  }

  private QemuRamLayout list(int size) {
    listBytes = size;
    return new QemuRamLayout(blocks);
  }

  /** {@return how many bytes the list has; what the piece has besides is the next record's} */
  int listBytes() {
    return listBytes;
  }

  /** {@return whether there is the page size of the last block, and not the record behind it} */
  private boolean readPageSize(int at) {
    long bytes = piece.i64(at);
    if (Long.bitCount(bytes) == 1 && (bytes & hostPageSizes) != 0) {
      QemuRamLayout.Block block = blocks.removeLast();
      blocks.add(
          new QemuRamLayout.Block(
              block.name(),
              block.usedLengthBytes(),
              OptionalLong.of(bytes),
              block.guestPhysicalAddress()));
      return true;
    }
    if (left > 0) {
      throw piece.protocol(
          at,
          "RAM block '%s' has host pages of %s bytes, of which the source has not told before"
              .formatted(name, Long.toUnsignedString(bytes)));
    }
    return false;
  }

  private void want(State next, int bytes) {
    state = next;
    wanted = piece.size() + bytes;
  }

  private void readBlock(int at) {
    long length = piece.i64(at);
    if (length < 0 || length > left) {
      throw piece.protocol(
          at,
          "RAM block '%s' has %s bytes, but only %d of the total of %d are left"
              .formatted(name, Long.toUnsignedString(length), left, total));
    }
    if (length % pageSizeBytes != 0) {
      throw piece.protocol(
          at,
          "RAM block '%s' has %d bytes, which is not a multiple of the page size %d"
              .formatted(name, length, pageSizeBytes));
    }
    left -= length;
    OptionalLong address = withAddress ? OptionalLong.of(piece.i64(at + 8)) : OptionalLong.empty();
    blocks.add(new QemuRamLayout.Block(name, length, OptionalLong.empty(), address));
  }
}
