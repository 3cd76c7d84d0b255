package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Turns the bytes of a QEMU migration stream into elements.
 *
 * <p>It reads the pre-copy streams of QEMU 2.4 and later, up to the END of the RAM or the first
 * device's state; what comes then is passed on in {@link QemuElement.DeviceTail pieces}, unread.
 * Pages are gathered in batches. A batch is passed on when it is full, when a page of another block
 * comes or one that is not above those before it, and before any other element. Records that change
 * nothing (XBZRLE pages without a byte) are left out; a page filled with a byte other than zero
 * becomes a raw page, and so does a compressed one.
 *
 * <p>What an XBZRLE page encodes is not looked into: {@link io.pageflux.codec.DeltaDecoder} does
 * that.
 *
 * <p><b>Driving it:</b> call {@link #read} with some bytes until it returns null. Then, if {@link
 * #needsSlab()}, {@link #supply} a slab and go on with the same bytes; else go on with the next.
 * When there are no more, call {@link #end()} until it returns null.
 *
 * <p><b>Ordering and threading:</b> elements come in the order of the stream. Not for use by two
 * threads at once.
 *
 * <p><b>Memory bound:</b> two slabs at the most; on the heap, the largest element that {@link
 * QemuElement#raw()} allows, twice two pages, and about 1 MiB for the names of the most blocks that
 * a stream may have. Nothing is allocated for a length that was not checked.
 *
 * <p><b>Discard:</b> {@link #close} gives back the slabs that the reader has, and so does every
 * error. A batch that was returned is the caller's.
 *
 * <p><b>Errors:</b> every fault of the stream is a {@link MigrationException} that says at which
 * byte, in which section, and what to do: of kind {@code PROTOCOL} if the form is wrong or not
 * supported, {@code INTEGRITY} if a compressed page is damaged, {@code TRANSPORT} if the stream
 * ended too early. After one the reader cannot be used any more. QEMU's stream has no checksums, so
 * damaged page contents are not noticed.
 */
public final class QemuStreamReader implements AutoCloseable {

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
    TAIL,
    CLOSED
  }

  private final BatchGeometry geometry;
  private final RecordListener listener;
  private final Piece piece = new Piece();
  private State state = State.HEADER;
  private int pageSize;
  private boolean withAddress;
  private boolean afterHeader;
  private @Nullable ConfigurationReader configuration;

  private @Nullable RamReader ram;
  private int ramId;
  private boolean ramEnded;
  private @Nullable Lease early;
  private long tailBytes;

  /**
   * Makes a reader of a stream with pages of 4,096 bytes, as x86 has them, unless it says
   * otherwise.
   *
   * @param geometry how large batches, and the slabs that will be supplied, are
   */
  public QemuStreamReader(BatchGeometry geometry) {
    this(geometry, 4096);
  }

  /**
   * Makes a reader of a stream with pages of a size, unless it says otherwise.
   *
   * @param geometry how large batches, and the slabs that will be supplied, are
   * @param targetPageSizeBytes the guest's smallest page size, a power of two from 1 KiB to 2 MiB
   * @throws IllegalArgumentException if it is not, or a batch cannot hold one page
   */
  public QemuStreamReader(BatchGeometry geometry, int targetPageSizeBytes) {
    this(geometry, targetPageSizeBytes, RecordListener.NONE);
  }

  QemuStreamReader(BatchGeometry geometry, int targetPageSizeBytes, RecordListener listener) {
    this.listener = listener;
    this.geometry = geometry;
    this.pageSize = targetPageSizeBytes;
    if (Integer.bitCount(targetPageSizeBytes) != 1
        || targetPageSizeBytes < 1 << QemuFormat.MIN_PAGE_BITS
        || targetPageSizeBytes > 1 << QemuFormat.MAX_PAGE_BITS) {
      throw new IllegalArgumentException(
          "a target page of %d bytes is not a power of two from 2^%d to 2^%d"
              .formatted(targetPageSizeBytes, QemuFormat.MIN_PAGE_BITS, QemuFormat.MAX_PAGE_BITS));
    }
    if (geometry.payloadBytes() < targetPageSizeBytes) {
      throw new IllegalArgumentException(
          "a batch of %d bytes cannot hold a page of %d"
              .formatted(geometry.payloadBytes(), targetPageSizeBytes));
    }
  }

  /**
   * Takes bytes until an element is complete. Call it again with the same buffer until it returns
   * null; then, if {@link #needsSlab()}, {@link #supply} one and go on with the same buffer.
   *
   * @param in the next bytes of the stream, big-endian; its position moves behind those that were
   *     taken
   * @return the next element, or null if all bytes were taken or a slab is needed
   * @throws MigrationException if the stream is at fault; what the buffer still holds is of no use
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public @Nullable QemuElement read(ByteBuffer in) {
    requireUsable();
    try {
      return advance(in);
    } catch (MigrationException e) {
      close();
      throw e;
    } catch (RuntimeException e) {
      close();
      throw MigrationException.of(
          Kind.INTERNAL, "the reader failed at byte " + bytesRead() + " of the stream: " + e, e);
    }
  }

  private void requireUsable() {
    if (state == State.CLOSED) {
      throw new IllegalStateException("the reader has failed before, or was closed");
    }
  }

  private @Nullable QemuElement advance(ByteBuffer in) {
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
            case TAIL -> readTail(in);
            case CLOSED -> throw new IllegalStateException();
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
    if (!piece.fill(in, 4)) {
      return null;
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
    if (!command.isPrecopy()) {
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
    return element;
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
    RamReader reader = new RamReader(piece, geometry, pageSize, withAddress, listener);
    ram = reader;
    if (early != null) {
      reader.supply(early);
      early = null;
    }
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
    byte[] bytes = new byte[n];
    in.get(bytes);
    long at = piece.position();
    piece.passed(n);
    piece.next();
    tailBytes += n;
    return new QemuElement.DeviceTail(ByteBuffer.wrap(bytes).asReadOnlyBuffer(), at);
  }

  /** {@return whether the next page needs a slab before reading can go on} */
  public boolean needsSlab() {
    return ram != null && ram.needsSlab();
  }

  /**
   * Gives the reader a slab; from here on it is the reader's to release. It may come before it is
   * needed. A reader that was closed, or has failed, releases it at once.
   *
   * @throws IllegalStateException if the reader has one already that it does not need yet
   * @throws IllegalArgumentException if the slab is too small for the reader's geometry
   */
  public void supply(Lease lease) {
    if (state == State.CLOSED) {
      lease.release();
    } else if (ram != null) {
      ram.supply(lease);
    } else if (early != null) {
      throw new IllegalStateException("the reader has a slab already");
    } else {
      early = lease;
    }
  }

  /**
   * {@return the pages that are complete so far, or null if there are none} For drivers that do not
   * want pages to wait for others when the source pauses.
   *
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public @Nullable QemuElement flush() {
    requireUsable();
    return ram == null ? null : ram.flush();
  }

  /**
   * Says that the peer has closed the stream. Call it until it returns null.
   *
   * @return the pages that are complete and were not returned yet, then null
   * @throws MigrationException of kind {@code TRANSPORT} if this is no place to end: before the RAM
   *     is complete, or without anything after it. Whether the devices' state is complete cannot be
   *     known
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public @Nullable QemuElement end() {
    QemuElement pages = flush();
    if (pages != null) {
      return pages;
    }
    if (state == State.TAIL && tailBytes > 0) {
      return null;
    }
    MigrationException error =
        state == State.RAM && ram != null
            ? ram.endedEarly()
            : piece.fault(Kind.TRANSPORT, bytesRead(), "the stream ended " + awaited());
    close();
    throw error;
  }

  private String awaited() {
    if (piece.size() > 0) {
      return "in the middle of what began at byte " + piece.start();
    }
    return switch (state) {
      case HEADER -> "before it began";
      case FOOTER -> "where the section's footer has to come";
      case TAIL -> "where the devices' state or the end marker has to come";
      default ->
          ram == null
              ? "before the RAM: the source gave up"
              : "where the next section has to come, before the RAM was complete";
    };
  }

  /** {@return how many bytes of the stream were taken so far} */
  public long bytesRead() {
    return piece.position();
  }

  /** Gives back the slabs that the reader has. The reader cannot be used any more. */
  @Override
  public void close() {
    state = State.CLOSED;
    if (ram != null) {
      ram.close();
    }
    if (early != null) {
      early.release();
      early = null;
    }
  }
}
