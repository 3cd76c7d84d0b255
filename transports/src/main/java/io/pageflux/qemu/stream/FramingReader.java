package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.BatchGeometry;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** Reads the framing of a stream: its sections, up to the devices' state. */
final class FramingReader {

  private enum State {
    HEADER,
    /** The type of a section. */
    TYPE,
    CONFIGURATION,
    COMMAND,
    START,
    /** PART or END. */
    CONTINUED,
    RAM,
    FOOTER,
    PACKAGE,
    TAIL
  }

  private final BatchGeometry geometry;
  private final RecordListener listener;
  private final Piece piece;
  private final SpareSlab spare;
  private State state = State.HEADER;
  private final PostcopyFraming postcopy;
  private int pageSize;
  private boolean withAddress;
  private boolean afterHeader;
  private @Nullable ConfigurationReader configuration;

  private @Nullable RamReader ram;
  private int ramId;
  private boolean ramEnded;
  private long tailBytes;

  FramingReader(
      Piece piece,
      BatchGeometry geometry,
      int pageSize,
      boolean withPostcopy,
      SpareSlab spare,
      RecordListener listener) {
    this.piece = piece;
    this.postcopy = new PostcopyFraming(piece, withPostcopy);
    this.spare = spare;
    this.geometry = geometry;
    this.pageSize = pageSize;
    this.listener = listener;
  }

  /** Whether the guest has been given away: pages come that somebody waits for. */
  boolean isHandedOver() {
    return postcopy.isHandedOver();
  }

  /** What reads the RAM's sections, once they have begun. */
  @Nullable RamReader ram() {
    return ram;
  }

  /** Goes on reading. {@return the next element, or null if bytes or a slab are missing} */
  @Nullable QemuElement read(ByteBuffer in) {
    while (true) {
      int before = in.remaining();
      State was = state;
      QemuElement element =
          switch (state) {
            case HEADER -> readHeader(in);
            case TYPE -> readType(in);
            case CONFIGURATION -> readConfiguration(in);
            case COMMAND -> readCommand(in);
            case START -> readStart(in);
            case CONTINUED -> readContinued(in);
            case RAM -> readRam(in);
            case FOOTER -> readFooter(in);
            case PACKAGE -> readPackage(in);
            case TAIL -> readTail(in);
          };
      if (element != null) {
        return element;
      }
      if (state == was && in.remaining() == before) {
        return null; // Nothing moves any more: bytes or a slab are missing.
      }
    }
  }

  private @Nullable QemuElement readHeader(ByteBuffer in) {
    if (piece.size() == 0 && postcopy.isResumed(in)) {
      beginTail();
      return null;
    }
    if (!piece.fill(in, 4)) {
      return null;
    }
    if (piece.i32(0) == QemuFormat.MULTIFD_MAGIC) {
      throw piece.protocol(
          0,
          "the first bytes are those of a multifd channel and not 'QEVM': switch the capability"
              + " multifd off, or read all its channels");
    }
    if (piece.i32(0) != QemuFormat.MAGIC) {
      throw piece.protocol(
          0,
          "the first bytes are %08x and not 'QEVM': this is no QEMU migration stream"
              .formatted(piece.i32(0)));
    }
    if (!piece.fill(in, QemuFormat.HEADER_BYTES)) {
      return null;
    }
    int version = piece.i32(4);
    if (version != QemuFormat.VERSION) {
      throw piece.protocol(
          4,
          "version %d of the stream, and only version 3 is known: QEMU has written it since 2008"
              .formatted(version & 0xFFFF_FFFFL));
    }
    long start = piece.start();
    QemuElement header = new QemuElement.Header(piece.take(), start, version);
    afterHeader = true;
    beginType();
    return header;
  }

  private void beginType() {
    piece.enter("the framing");
    state = State.TYPE;
  }

  private @Nullable QemuElement readType(ByteBuffer in) {
    if (!in.hasRemaining()) {
      return null;
    }
    int type = in.get(in.position()) & 0xFF;
    boolean first = afterHeader;
    afterHeader = false;
    if (ram != null && (type == QemuFormat.SECTION_FULL || type == QemuFormat.EOF)) {
      // A background snapshot writes no END, and a stream may have all its pages in START.
      beginTail();
      return null;
    }
    piece.fill(in, 1);
    switch (type) {
      case QemuFormat.CONFIGURATION -> {
        if (!first) {
          throw unexpected(type, "it comes directly after the header, once");
        }
        piece.enter("the configuration");
        configuration = new ConfigurationReader(piece);
        state = State.CONFIGURATION;
      }
      case QemuFormat.COMMAND -> {
        piece.enter("a command");
        state = State.COMMAND;
      }
      case QemuFormat.SECTION_START -> {
        piece.enter("a START section");
        state = State.START;
      }
      case QemuFormat.SECTION_PART, QemuFormat.SECTION_END -> {
        if (ram == null) {
          throw unexpected(type, "the RAM's START section has to come first");
        }
        state = State.CONTINUED;
      }
      case QemuFormat.FOOTER -> throw unexpected(type, "no section is open");
      case QemuFormat.EOF ->
          throw unexpected(type, "no RAM has come: the source gave the migration up");
      default -> throw unexpected(type, "no such section may be here: the stream is damaged");
    }
    return null;
  }

  private MigrationException unexpected(int type, String why) {
    return piece.protocol(
        0, "a section of type 0x%02x, %s: %s".formatted(type, QemuFormat.sectionName(type), why));
  }

  private @Nullable QemuElement readConfiguration(ByteBuffer in) {
    ConfigurationReader reader = configuration;
    QemuElement.Configuration element = reader == null ? null : reader.read(in);
    if (element == null) {
      return null;
    }
    configuration = null;
    withAddress = element.capabilities().contains(QemuFormat.IGNORE_SHARED);
    if (element.targetPageBits().isPresent()) {
      pageSize = 1 << element.targetPageBits().getAsInt();
      if (geometry.payloadBytes() < pageSize) {
        throw piece.fault(
            Kind.PROTOCOL,
            element.offset(),
            "pages of %d bytes do not fit the reader's batches of %d: use"
                    .formatted(pageSize, geometry.payloadBytes())
                + " BatchGeometry.forPageSize");
      }
    }
    beginType();
    return element;
  }

  private @Nullable QemuElement readCommand(ByteBuffer in) {
    if (!piece.fill(in, 5)) {
      return null;
    }
    QemuCommand command = QemuCommand.ofCode(piece.u16(1));
    int length = piece.u16(3);
    if (command == null) {
      throw piece.protocol(
          1,
          "command %d is not known: it is newer than QEMU 10, or the stream is damaged"
              .formatted(piece.u16(1)));
    }
    if (!command.isPrecopy() && !postcopy.allows(command)) {
      throw piece.protocol(
          1, command + ": only pre-copy is supported, so switch postcopy-ram and COLO off");
    }
    if (!command.mayCarry(length)) {
      throw piece.protocol(3, "%s with %d bytes of payload".formatted(command, length));
    }
    if (!piece.fill(in, 5 + length)) {
      return null;
    }
    ByteBuffer payload = piece.slice(5, length);
    long start = piece.start();
    QemuElement element = new QemuElement.Command(piece.take(), start, command, payload);
    beginType();
    postcopy.note(command, payload);
    if (command == QemuCommand.PACKAGED) {
      RamReader pages = ram;
      if (pages != null) {
        pages.keepSmall(QemuStreamReader.POSTCOPY_BATCH_BYTES);
      }
      piece.enter("the package of the devices' state");
      state = State.PACKAGE;
    }
    return element;
  }

  private @Nullable QemuElement readPackage(ByteBuffer in) {
    if (postcopy.isPackageOver()) {
      beginType();
      return null;
    }
    return postcopy.readPackage(in);
  }

  private @Nullable QemuElement readStart(ByteBuffer in) {
    if (!piece.fill(in, 6)) {
      return null;
    }
    int nameLength = piece.u8(5);
    if (!piece.fill(in, 6 + nameLength + 8)) {
      return null;
    }
    String name = piece.text(6, nameLength, "a section's name");
    int instance = piece.i32(6 + nameLength);
    int version = piece.i32(10 + nameLength);
    if (!name.equals(QemuFormat.RAM)) {
      throw piece.protocol(
          6,
          "section '%s': nothing says how long it is, so it cannot be passed on; switch off at the"
                  .formatted(name)
              + " source what sends it (such as dirty-bitmaps, block or VFIO migration)");
    }
    if (ram != null) {
      throw piece.protocol(6, "a second START section 'ram'");
    }
    if (instance != 0 || version != QemuFormat.RAM_VERSION) {
      throw piece.protocol(
          6 + nameLength,
          "section 'ram' has instance %d and version %d, where 0 and 4 are known"
              .formatted(instance & 0xFFFF_FFFFL, version & 0xFFFF_FFFFL));
    }
    ramId = piece.i32(1);
    long start = piece.start();
    QemuElement element =
        new QemuElement.SectionStart(piece.take(), start, ramId, name, instance, version);
    enterRam("START");
    ram =
        new RamReader(
            piece,
            new BatchFiller(piece, geometry, pageSize, spare),
            pageSize,
            withAddress,
            postcopy.hostPageSizes(),
            listener);
    return element;
  }

  private void enterRam(String section) {
    piece.enter("section 'ram' (id %d, %s)".formatted(ramId & 0xFFFF_FFFFL, section));
    state = State.RAM;
  }

  private @Nullable QemuElement readContinued(ByteBuffer in) {
    if (!piece.fill(in, 5)) {
      return null;
    }
    boolean end = piece.u8(0) == QemuFormat.SECTION_END;
    int id = piece.i32(1);
    if (id != ramId) {
      throw piece.protocol(
          1,
          "%s of section %d, but only section %d ('ram') was started"
              .formatted(end ? "END" : "PART", id & 0xFFFF_FFFFL, ramId & 0xFFFF_FFFFL));
    }
    ramEnded = end;
    long start = piece.start();
    ByteBuffer raw = piece.take();
    enterRam(end ? "END" : "PART");
    return end
        ? new QemuElement.SectionEnd(raw, start, id)
        : new QemuElement.SectionPart(raw, start, id);
  }

  private @Nullable QemuElement readRam(ByteBuffer in) {
    QemuElement element = ram == null ? null : ram.read(in);
    if (element instanceof QemuElement.EndOfRamData) {
      state = State.FOOTER;
    }
    return element;
  }

  private @Nullable QemuElement readFooter(ByteBuffer in) {
    if (!piece.fill(in, 1)) {
      return null;
    }
    if (piece.u8(0) != QemuFormat.FOOTER) {
      throw piece.protocol(
          0,
          "0x%02x, where the section's footer (0x7e) has to be: machine types before 2.4 have"
                  .formatted(piece.u8(0))
              + " none, and are not supported");
    }
    if (!piece.fill(in, 5)) {
      return null;
    }
    if (piece.i32(1) != ramId) {
      throw piece.protocol(
          1,
          "the footer of section %d ends section %d"
              .formatted(piece.i32(1) & 0xFFFF_FFFFL, ramId & 0xFFFF_FFFFL));
    }
    long start = piece.start();
    QemuElement footer = new QemuElement.Footer(piece.take(), start, ramId);
    if (ramEnded) {
      beginTail();
    } else {
      beginType();
    }
    return footer;
  }

  private void beginTail() {
    piece.enter("the devices' state");
    state = State.TAIL;
  }

  private @Nullable QemuElement readTail(ByteBuffer in) {
    int n = Math.min(in.remaining(), QemuElement.MAX_TAIL_PIECE_BYTES);
    if (n == 0) {
      return null;
    }
    long at = piece.position();
    tailBytes += n;
    return new QemuElement.DeviceTail(piece.passOn(in, n), at);
  }

  /** Why this is no place for the stream to end; null if it is one. */
  @Nullable MigrationException endedEarly() {
    if (state == State.TAIL && tailBytes > 0) {
      return null;
    }
    return state == State.RAM && ram != null
        ? ram.endedEarly()
        : piece.fault(Kind.TRANSPORT, piece.position(), "the stream ended " + awaited());
  }

  private String awaited() {
    if (piece.size() > 0) {
      return "in the middle of what began at byte " + piece.start();
    }
    return switch (state) {
      case HEADER -> "before it began";
      case FOOTER -> "where the section's footer has to come";
      case PACKAGE -> "in the middle of the devices' state";
      case TAIL -> "where the devices' state or the end marker has to come";
      default ->
          ram == null
              ? "before the RAM: the source gave up"
              : "where the next section has to come, before the RAM was complete";
    };
  }
}
