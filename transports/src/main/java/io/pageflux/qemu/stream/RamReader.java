package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.PageKind;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads what is in the RAM's sections, from the list of blocks to the EOS record.
 *
 * <p>A page's contents go straight into the slab; the page counts only when all of them are there,
 * so a record is taken whole or not at all.
 */
final class RamReader {

  private enum State {
    /** The record's address and flags. */
    RECORD,
    BLOCK_LIST,
    NAME_LENGTH,
    NAME,
    /** What comes before the contents: the fill byte, or a length. */
    PREFIX,
    /** A compressed page's bytes, which are collected before they are inflated. */
    PACKED,
    /** The page is next to go into a batch. */
    PLACE,
    /** A page's contents, on their way into the slab. */
    CONTENTS
  }

  private final Piece piece;
  private final int pageSize;
  private final boolean withAddress;
  private final long hostPageSizes;
  private final BatchFiller filler;
  private final PageInflater inflater;
  private final RecordListener listener;

  private State state = State.RECORD;
  private @Nullable BlockListReader listReader;
  private @Nullable QemuRamLayout layout;
  private List<RamBlockLayout> blocks = List.of();
  // By name: the block's place among those that have pages, or -1 if it has none.
  private final Map<String, Integer> indices = new HashMap<>();

  // Survive the sections: a record may refer to the block of the one before.
  private @Nullable String currentName;
  private int current = -1;

  // The record that is being read.
  private int flags;
  private long address;
  private int nameLength;
  private int wanted = 8;
  private int contentBytes;
  private int fill;

  RamReader(
      Piece piece,
      BatchFiller filler,
      int pageSize,
      boolean withAddress,
      long hostPageSizes,
      RecordListener listener) {
    this.piece = piece;
    this.filler = filler;
    this.pageSize = pageSize;
    this.withAddress = withAddress;
    this.hostPageSizes = hostPageSizes;
    this.listener = listener;
    this.inflater = new PageInflater(pageSize);
  }

  /** From here on batches are of so many bytes of pages at the most, but for one page. */
  void keepSmall(int bytes) {
    filler.keepSmall(bytes);
  }

  boolean needsSlab() {
    return state == State.PLACE && filler.needsSlab();
  }

  /** Whether a record has been begun. */
  boolean isInsideRecord() {
    return state != State.RECORD || piece.size() > 0;
  }

  /** Goes on reading. {@return the next element, or null if bytes or a slab are missing} */
  @Nullable QemuElement read(ByteBuffer in) {
    while (true) {
      switch (state) {
        case PLACE -> {
          QemuElement.Pages before = filler.makeRoom(current, blocks.get(current), page());
          if (before != null) {
            return before;
          }
          if (filler.needsSlab()) {
            return null;
          }
          QemuElement.Pages full = place();
          if (full != null) {
            return full;
          }
        }
        case CONTENTS -> {
          if (!filler.take(in)) {
            return null;
          }
          QemuElement.Pages full = finish(kind());
          if (full != null) {
            return full;
          }
        }
        case PACKED -> {
          if (!inflater.take(in, piece)) {
            return null;
          }
          state = State.PLACE;
        }
        case BLOCK_LIST -> {
          QemuElement list = readList(in);
          if (list == null) {
            return null;
          }
          return list;
        }
        default -> {
          if (!piece.fill(in, wanted)) {
            return null;
          }
          QemuElement element = step();
          if (element != null) {
            return element;
          }
        }
      }
    }
  }

  private @Nullable QemuElement step() {
    switch (state) {
      case RECORD -> {
        return readRecord();
      }
      case NAME_LENGTH -> {
        nameLength = piece.u8(8);
        want(State.NAME, nameLength);
      }
      case NAME -> {
        enterBlock(piece.text(9, nameLength, "a RAM block's name"));
        beginPage();
      }
      case PREFIX -> readPrefix();
      default -> throw new IllegalStateException();
    }
    return null;
  }

  private void want(State next, int bytes) {
    state = next;
    wanted = piece.size() + bytes;
  }

  private void beginRecord() {
    piece.next();
    want(State.RECORD, 8);
  }

  /** Looks at a record's flags. The record is not counted as begun until its pages are out. */
  private @Nullable QemuElement readRecord() {
    long record = piece.i64(0);
    flags = (int) (record & (pageSize - 1));
    address = record & -pageSize;
    if (flags == QemuFormat.FLAG_EOS || flags == QemuFormat.FLAG_MULTIFD_FLUSH) {
      requireList();
      requireNoAddress();
      QemuElement.Pages before = filler.emit();
      if (before != null) {
        return before; // and look at this record again
      }
      long start = piece.start();
      ByteBuffer raw = piece.take();
      beginRecord();
      return flags == QemuFormat.FLAG_EOS
          ? new QemuElement.EndOfRamData(raw, start)
          : new QemuElement.MultifdFlush(raw, start);
    }
    if (flags == QemuFormat.FLAG_MEM_SIZE) {
      if (layout != null) {
        throw piece.protocol(0, "a second list of RAM blocks");
      }
      listReader = new BlockListReader(piece, pageSize, withAddress, hostPageSizes);
      state = State.BLOCK_LIST;
      return null;
    }
    RecordFlags.requirePage(flags, piece);
    requireList();
    if ((flags & QemuFormat.FLAG_CONTINUE) == 0) {
      want(State.NAME_LENGTH, 1);
    } else if (currentName == null) {
      throw piece.protocol(
          0, "a page of the same block as the one before, but there was no page before");
    } else {
      beginPage();
    }
    return null;
  }

  private void requireNoAddress() {
    if (address != 0) {
      throw piece.protocol(0, "flags 0x%x with address 0x%x".formatted(flags, address));
    }
  }

  private void requireList() {
    if (layout == null) {
      throw piece.protocol(
          0, "flags 0x%x, where the list of RAM blocks has to come first".formatted(flags));
    }
  }

  private @Nullable QemuElement readList(ByteBuffer in) {
    BlockListReader reader = listReader;
    QemuRamLayout read = reader == null ? null : reader.read(in);
    if (reader == null || read == null) {
      return null;
    }
    listReader = null;
    int bytes = reader.listBytes();
    layout = read;
    blocks = read.toRamLayout(pageSize).blocks();
    int index = 0;
    for (QemuRamLayout.Block block : read.blocks()) {
      indices.put(block.name(), block.usedLengthBytes() == 0 ? -1 : index++);
    }
    long start = piece.start();
    QemuElement element = new QemuElement.RamBlocks(piece.take(bytes), start, read, pageSize);
    state = State.RECORD;
    wanted = 8; // which may be there already
    return element;
  }

  private void enterBlock(String name) {
    Integer index = indices.get(name);
    if (index == null) {
      throw piece.protocol(
          8, "a page of RAM block '%s', which the stream did not list".formatted(name));
    }
    currentName = name;
    current = index;
  }

  private long page() {
    return address / pageSize;
  }

  private void beginPage() {
    long size = current < 0 ? 0 : blocks.get(current).sizeBytes();
    if (address < 0 || address >= size) {
      throw piece.protocol(
          0,
          "a page at offset 0x%x of RAM block '%s', which has 0x%x bytes"
              .formatted(address, currentName, size));
    }
    switch (flags & RecordFlags.PAGES) {
      case QemuFormat.FLAG_ZERO -> want(State.PREFIX, 1);
      case QemuFormat.FLAG_XBZRLE -> want(State.PREFIX, 3);
      case QemuFormat.FLAG_COMPRESS_PAGE -> want(State.PREFIX, 4);
      default -> {
        contentBytes = pageSize;
        state = State.PLACE;
      }
    }
  }

  private void readPrefix() {
    int size = piece.size();
    switch (flags & RecordFlags.PAGES) {
      case QemuFormat.FLAG_ZERO -> {
        fill = piece.u8(size - 1);
        state = State.PLACE;
      }
      case QemuFormat.FLAG_XBZRLE -> readXbzrlePrefix(size);
      default -> {
        int packed = piece.i32(size - 4);
        if (packed < 1 || packed > QemuFormat.compressBound(pageSize)) {
          throw piece.protocol(
              size - 4,
              "a compressed page of %d bytes, where 1 to %d may be"
                  .formatted(packed & 0xFFFF_FFFFL, QemuFormat.compressBound(pageSize)));
        }
        inflater.begin(packed);
        state = State.PACKED;
      }
    }
  }

  private void readXbzrlePrefix(int size) {
    if (piece.u8(size - 3) != QemuFormat.ENCODING_XBZRLE) {
      throw piece.protocol(
          size - 3,
          "an XBZRLE page in encoding %d, and only 1 is known".formatted(piece.u8(size - 3)));
    }
    contentBytes = piece.u16(size - 2);
    if (contentBytes > pageSize) {
      throw piece.protocol(
          size - 2,
          "an XBZRLE page of %d bytes, where at most %d may be".formatted(contentBytes, pageSize));
    }
    if (contentBytes == 0) {
      tell(QemuRecordType.EMPTY_XBZRLE);
      beginRecord(); // Changes nothing.
    } else {
      state = State.PLACE;
    }
  }

  private QemuElement.@Nullable Pages place() {
    switch (flags & RecordFlags.PAGES) {
      case QemuFormat.FLAG_ZERO -> {
        if (fill == 0) {
          return finish(PageKind.ZERO);
        }
        filler.fill((byte) fill);
        return finish(PageKind.RAW);
      }
      case QemuFormat.FLAG_COMPRESS_PAGE -> {
        inflate();
        return finish(PageKind.RAW);
      }
      default -> {
        filler.begin(contentBytes);
        state = State.CONTENTS;
        return null;
      }
    }
  }

  private void inflate() {
    String wrong = inflater.inflate(filler.room());
    if (wrong != null) {
      throw piece.fault(
          Kind.INTEGRITY,
          piece.start(),
          "the compressed page at offset 0x%x of RAM block '%s' %s"
              .formatted(address, currentName, wrong));
    }
  }

  private PageKind kind() {
    return (flags & QemuFormat.FLAG_XBZRLE) != 0 ? PageKind.DELTA : PageKind.RAW;
  }

  private QemuElement.@Nullable Pages finish(PageKind kind) {
    long start = piece.start();
    tell(RecordFlags.type(flags, fill));
    int length = kind == PageKind.ZERO ? 0 : kind == PageKind.RAW ? pageSize : contentBytes;
    QemuElement.Pages full = filler.append(page(), kind, length, start);
    beginRecord();
    return full;
  }

  private void tell(QemuRecordType type) {
    listener.read(type, current, page(), piece.position() - piece.start());
  }

  /** The pages that are complete, although more would fit; or null. */
  QemuElement.@Nullable Pages flush() {
    if (state == State.CONTENTS && filler.setAside()) {
      state = State.PLACE;
    }
    return filler.emit();
  }

  /** What is missing, for the message that the stream ended too early. */
  MigrationException endedEarly() {
    String what =
        isInsideRecord()
            ? "in the middle of a record that began at byte " + piece.start()
            : "where another record or EOS has to come";
    return piece.fault(Kind.TRANSPORT, piece.position(), "the stream ended " + what);
  }

  void close() {
    filler.close();
    inflater.close();
  }
}
