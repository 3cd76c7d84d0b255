package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Turns bytes into records: one reader for each connection and direction.
 *
 * <p>It checks the form of every record and its checksums, and that the first one is a {@link
 * WireRecord.Hello}. Whether a record may come at this point of a migration is not its business.
 *
 * <p><b>Ordering and threading:</b> records come out in the order of the stream. Not for use by two
 * threads at once.
 *
 * <p><b>Memory bound:</b> {@link WireLimits#MAX_CONTROL_BODY_BYTES} of heap, {@link
 * WireLimits#MAX_BLOCK_LIST_BODY_BYTES} while a list of blocks is read, and at most one slab of the
 * pool for a batch that is not complete. Nothing is allocated for a length that was not checked.
 *
 * <p><b>Discard:</b> {@link #close} gives back the slab of an incomplete batch, and so does every
 * error. A batch that was returned is the caller's.
 *
 * <p><b>Errors:</b> every fault of the stream is a {@link MigrationException} that says which byte
 * of which record is wrong: of kind {@code INTEGRITY} if a checksum is, {@code TRANSPORT} if the
 * stream ended too early, {@code INTERNAL} if there was no free slab, else {@code PROTOCOL}. After
 * one the reader cannot be used any more.
 */
public final class WireReader implements AutoCloseable {

  /** How many bytes every stream begins with, whatever its version. */
  public static final int PREAMBLE_BYTES = WireFormat.PREAMBLE_BYTES;

  private enum State {
    PREAMBLE,
    HEADER,
    BODY,
    ENDED
  }

  /** Learns of records that were skipped because their type is not known and they are optional. */
  interface SkipListener {
    void skipped(int type, long offset, int recordBytes);
  }

  private final SkipListener skipListener;
  private final Checksum checksum = new Checksum();
  private final ByteBuffer header = ByteBuffer.allocate(RecordType.Sizes.HEADER);
  private State state = State.PREAMBLE;
  private long bytesRead;
  private @Nullable PagesReader pages;
  private boolean skipsPages;

  // The record that is being read. It has no type if it is to be skipped.
  private int sequence = -1;
  private Place place = new Place("no", 0, 0);
  private @Nullable RecordType type;
  private int bodyBytes;
  private int bodyLeft;
  private ByteBuffer control = ByteBuffer.allocate(128);

  /** Makes a reader at the start of a stream. */
  public WireReader() {
    this((_, _, _) -> {});
  }

  WireReader(SkipListener skipListener) {
    this.skipListener = skipListener;
  }

  /**
   * Says that batches of pages may come from now on, of all {@linkplain Feature features}.
   *
   * @param layout the blocks that both sides have agreed upon
   * @param pool where the batches go. Its geometry is the largest batch that is accepted; when it
   *     has no free slab as a batch arrives, that is an error: so it must have a slab for each
   *     batch that the caller may hold, and one more.
   * @throws IllegalStateException if it was said before
   */
  public void expectPages(RamLayout layout, SlabPool pool) {
    expectPages(layout, pool, Feature.all());
  }

  /**
   * Says that batches of pages may come from now on.
   *
   * @param layout the blocks that both sides have agreed upon
   * @param pool where the batches go; see {@link #expectPages(RamLayout, SlabPool)}
   * @param features what was agreed upon: a batch that needs another feature is an error
   * @throws IllegalStateException if it was said before
   */
  public void expectPages(RamLayout layout, SlabPool pool, long features) {
    if (pages != null) {
      throw new IllegalStateException("the reader expects pages already");
    }
    pages = new PagesReader(layout, pool, features);
  }

  /**
   * Takes bytes until a record is complete. Call it again with the same buffer until it returns
   * null.
   *
   * @param in the next bytes of the stream; its position moves behind those that were taken
   * @return the next record, or null if all bytes were taken and none was completed
   * @throws MigrationException if the stream is at fault; what the buffer still holds is of no use
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public @Nullable WireRecord read(ByteBuffer in) {
    requireUsable();
    try {
      while (true) {
        switch (state) {
          case PREAMBLE -> readPreamble(in);
          case HEADER -> readHeader(in);
          default -> readBody(in);
        }
        if (state == State.BODY && bodyLeft == 0) {
          WireRecord record = finishRecord();
          if (record != null) {
            return record;
          }
        } else if (!in.hasRemaining()) {
          return null;
        }
      }
    } catch (MigrationException e) {
      close();
      throw e;
    } catch (RuntimeException e) {
      close();
      throw MigrationException.of(
          Kind.INTERNAL, "the reader failed at byte " + bytesRead + " of the stream: " + e, e);
    }
  }

  /**
   * Takes bytes, and looks only for the peer's last word in them. Once called, {@link #read} is not
   * to be called any more: batches are skipped, and no slab is held or taken.
   *
   * @param in the next bytes of the stream; its position moves behind those that were taken
   * @return whether they end a {@link WireRecord.Failure}, behind which nothing comes
   * @throws MigrationException if the stream is at fault; there will be no last word then
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public boolean readLastWord(ByteBuffer in) {
    if (!skipsPages) {
      skipsPages = true;
      if (state == State.BODY && type == RecordType.PAGES && pages != null) {
        pages.discard();
        type = null;
      }
    }
    WireRecord record;
    do {
      record = read(in);
    } while (record != null && !(record instanceof WireRecord.Failure));
    return record != null;
  }

  private void requireUsable() {
    if (state == State.ENDED) {
      throw new IllegalStateException("the reader has failed before, or was closed");
    }
  }

  private void readPreamble(ByteBuffer in) {
    while (in.hasRemaining() && bytesRead < WireFormat.PREAMBLE_BYTES) {
      header.put(in.get());
      if (header.get((int) bytesRead) != WireFormat.preamble((int) bytesRead)) {
        // A few bytes more tell people what the peer does speak.
        while (in.hasRemaining() && header.position() < WireFormat.PREAMBLE_BYTES) {
          header.put(in.get());
        }
        throw MigrationException.of(
            Kind.PROTOCOL,
            "the peer does not speak Pageflux: expected PAGEFLUX as the first bytes, but got "
                + Texts.printable(header.flip())
                + guess()
                + " (at byte "
                + bytesRead
                + " of the stream)");
      }
      bytesRead++;
    }
    if (bytesRead == WireFormat.PREAMBLE_BYTES) {
      beginHeader();
    }
  }

  /** What else a peer may be that begins with the bytes in {@link #header}. */
  private String guess() {
    if (header.limit() >= 2 && header.get(0) == 0x16 && header.get(1) == 3) {
      return ", which looks like TLS";
    }
    if (header.limit() >= 4 && header.getInt(0) == 0x5145564D) {
      return ", which looks like QEMU's migration stream";
    }
    return "";
  }

  private void beginHeader() {
    header.clear();
    sequence++;
    place = new Place("the header of", sequence & 0xFFFF_FFFFL, bytesRead);
    state = State.HEADER;
  }

  private void readHeader(ByteBuffer in) {
    int n = Math.min(in.remaining(), header.remaining());
    header.put(header.position(), in, in.position(), n).position(header.position() + n);
    in.position(in.position() + n);
    bytesRead += n;
    if (!header.hasRemaining()) {
      parseHeader();
    }
  }

  private void parseHeader() {
    checksum.reset();
    checksum.update(header, 0, WireFormat.CHECKED_HEADER_BYTES);
    if (checksum.value() != header.getInt(WireFormat.HEADER_CHECK_AT)) {
      throw damaged("header", WireFormat.HEADER_CHECK_AT);
    }
    int code = header.get(0) & 0xFF;
    int flags = header.get(1) & 0xFF;
    type = RecordType.ofCode(code);
    place =
        new Place(type == null ? "type " + code : type.name(), place.sequence(), place.offset());
    if ((flags & ~WireFormat.FLAG_OPTIONAL) != 0) {
      throw protocol(1, "flags 0x%02x are not known".formatted(flags));
    }
    if (header.getShort(2) != 0) {
      throw protocol(2, "the reserved bytes are not zero");
    }
    if (header.getInt(8) != sequence) {
      throw protocol(
          8,
          "record %d was to come, but this one is %d: records were lost, repeated or mixed up"
              .formatted(place.sequence(), header.getInt(8) & 0xFFFF_FFFFL));
    }
    if (sequence == 0 && type != RecordType.HELLO && place.offset() == WireFormat.PREAMBLE_BYTES) {
      throw protocol(0, "the first record must be HELLO");
    }
    boolean optional = (flags & WireFormat.FLAG_OPTIONAL) != 0;
    if (type == null && !optional) {
      throw protocol(0, "the record's type is not known, and it is not optional");
    }
    if (type != null && optional) {
      throw protocol(1, "this type of record is never optional");
    }
    beginBody(header.getInt(4) & 0xFFFF_FFFFL);
  }

  private void beginBody(long length) {
    int min = type == null ? 0 : type.minBodyBytes();
    int max = WireLimits.MAX_CONTROL_BODY_BYTES;
    PagesReader pagesReader = null;
    if (type == RecordType.PAGES && skipsPages) {
      type = null;
      max = Integer.MAX_VALUE; // nothing of it is kept
    } else if (type == RecordType.PAGES) {
      pagesReader = pages;
      if (pagesReader == null) {
        throw PagesReader.premature(place, place.offset());
      }
      max = pagesReader.maxBodyBytes();
    } else if (type != null) {
      max = type.maxBodyBytes();
    }
    if (length < min || length > max) {
      throw protocol(4, "a body of %d bytes, where %d to %d may be".formatted(length, min, max));
    }
    bodyBytes = (int) length;
    bodyLeft = bodyBytes;
    if (pagesReader != null) {
      pagesReader.begin(bodyBytes, place, place.offset());
    } else if (type != null) {
      if (control.capacity() < bodyBytes) {
        control = ByteBuffer.allocate(bodyBytes);
      }
      control.clear().limit(bodyBytes);
    }
    state = State.BODY;
  }

  private void readBody(ByteBuffer in) {
    int taken;
    if (type == RecordType.PAGES && pages != null) {
      taken = pages.take(in, checksum);
    } else if (type != null) {
      taken = checksum.move(in, control);
    } else {
      taken = checksum.skip(in, bodyLeft);
    }
    bytesRead += taken;
    bodyLeft -= taken;
  }

  /** Reads the record whose body is complete. {@return null if it was skipped} */
  private @Nullable WireRecord finishRecord() {
    if (checksum.value() != header.getInt(WireFormat.BODY_CHECK_AT)) {
      throw damaged("body", WireFormat.BODY_CHECK_AT);
    }
    long bodyAt = place.offset() + RecordType.Sizes.HEADER;
    WireRecord record = null;
    if (type == RecordType.PAGES && pages != null) {
      record = new WireRecord.Pages(pages.finish(place, bodyAt));
    } else if (type != null) {
      BodyReader body = new BodyReader(control.flip(), place, bodyAt);
      record = ControlRecords.read(type, body, bodyBytes);
      if (control.capacity() > WireLimits.MAX_CONTROL_BODY_BYTES) {
        control = ByteBuffer.allocate(0); // a list of blocks comes once
      }
    } else {
      skipListener.skipped(
          header.get(0) & 0xFF, place.offset(), RecordType.Sizes.HEADER + bodyBytes);
    }
    beginHeader();
    return record;
  }

  private MigrationException damaged(String what, int checkAt) {
    return place.error(
        Kind.INTEGRITY,
        place.offset() + checkAt,
        "the %s was damaged on the way: its checksum is %08x, but %08x was sent"
            .formatted(what, checksum.value(), header.getInt(checkAt)));
  }

  private MigrationException protocol(int headerIndex, String what) {
    return place.error(Kind.PROTOCOL, place.offset() + headerIndex, what);
  }

  /**
   * Says that the peer has closed the stream.
   *
   * @throws MigrationException of kind {@code TRANSPORT} if that is no place to end: before the
   *     first record, or inside one
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public void end() {
    requireUsable();
    String awaited = awaited();
    close();
    if (awaited != null) {
      throw MigrationException.of(
          Kind.TRANSPORT, "the connection ended at byte " + bytesRead + ", where " + awaited);
    }
  }

  private @Nullable String awaited() {
    if (state == State.PREAMBLE) {
      return "%d of the %d bytes of the preamble were still to come"
          .formatted(WireFormat.PREAMBLE_BYTES - bytesRead, WireFormat.PREAMBLE_BYTES);
    }
    if (state == State.BODY) {
      return "%d of the %d bytes of the body of %s record %d from byte %d were still to come"
          .formatted(bodyLeft, bodyBytes, place.type(), place.sequence(), place.offset());
    }
    if (header.position() > 0) {
      return "%d of the %d bytes of the header of record %d from byte %d were still to come"
          .formatted(header.remaining(), header.capacity(), place.sequence(), place.offset());
    }
    return sequence == 0 ? "the HELLO was still to come" : null;
  }

  /** {@return how many bytes of the stream were taken and found to belong to it} */
  public long bytesRead() {
    return bytesRead;
  }

  /** Where the next record begins, or the one that is being read, in bytes. */
  long recordOffset() {
    return place.offset();
  }

  /** Gives back the slab of an incomplete batch. The reader cannot be used any more. */
  @Override
  public void close() {
    state = State.ENDED;
    if (pages != null) {
      pages.discard();
    }
  }
}
