package io.pageflux.wire;

import io.pageflux.page.PageBatch;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;

/**
 * Turns records into bytes: one writer for each connection and direction.
 *
 * <p>The first record must be a {@link WireRecord.Hello}; its buffer begins with the preamble.
 * After that any record may follow: the order of records is not the writer's business.
 *
 * <p><b>Ordering and threading:</b> records are numbered as they are written, so their buffers must
 * be sent in that order. Not for use by two threads at once.
 *
 * <p><b>Memory bound:</b> a control record takes a fresh buffer of at most {@link
 * WireLimits#MAX_CONTROL_BODY_BYTES} and 28 bytes of heap, or {@link
 * WireLimits#MAX_BLOCK_LIST_BODY_BYTES} if it lists blocks. A batch takes none: its record is
 * written around its contents, into the headroom of its own slab. The writer keeps nothing.
 */
public final class WireWriter {

  private final Checksum checksum = new Checksum();
  private int sequence;
  private long bytesWritten;

  /** Makes a writer at the start of a stream. */
  public WireWriter() {}

  /**
   * Turns a record into bytes, all in one piece.
   *
   * <p>A batch of pages belongs to the writer from here on, even if this throws: releasing the
   * returned buffer releases its slab. It is not copied, so it can be written once and to one
   * stream.
   *
   * @return the record's bytes; to be released
   * @throws IllegalStateException if the first record is no Hello, if the contents of a batch do
   *     not leave room before them for their description, if a batch was released, or if its
   *     compressed contents are larger than the contents themselves
   * @throws IllegalArgumentException if a batch is empty: it is to be dropped instead
   */
  public TransportBuffer write(WireRecord record) {
    if (record instanceof WireRecord.Pages pages) {
      try {
        return writePages(pages.batch());
      } catch (RuntimeException e) {
        pages.batch().release();
        throw e;
      }
    }
    return writeControl(record);
  }

  private TransportBuffer writeControl(WireRecord record) {
    int start = 0;
    if (sequence == 0 && bytesWritten == 0) {
      requireHello(record);
      start = WireFormat.PREAMBLE_BYTES;
    }
    int bodyAt = start + RecordType.Sizes.HEADER;
    ByteBuffer out = ByteBuffer.allocate(bodyAt + ControlRecords.bound(record));
    if (start > 0) {
      WireFormat.putPreamble(out);
    }
    ControlRecords.write(record, out.position(bodyAt));
    out.flip();
    putHeader(RecordType.of(record), out, start, out.limit() - bodyAt);
    bytesWritten += out.limit();
    return TransportBuffer.of(out);
  }

  private static void requireHello(WireRecord record) {
    if (!(record instanceof WireRecord.Hello)) {
      throw new IllegalStateException(
          "the first record of a stream is HELLO, not " + RecordType.of(record));
    }
  }

  private void putHeader(RecordType type, ByteBuffer record, int at, int bodyBytes) {
    WireFormat.putHeader(record, at, type.code(), 0, bodyBytes, sequence++, checksum);
  }

  private TransportBuffer writePages(PageBatch batch) {
    if (bytesWritten == 0) {
      requireHello(new WireRecord.Pages(batch));
    }
    if (batch.isReleased()) {
      throw new IllegalStateException("the batch was released before it was written: " + batch);
    }
    if (batch.isEmpty()) {
      throw new IllegalArgumentException("a batch without pages is not sent: drop it");
    }
    if (batch.storedBytes() > batch.payloadBytes()) {
      throw new IllegalStateException("compression has made a batch larger: " + batch);
    }
    int description = PagesWriter.descriptionBytes(batch);
    int at = batch.payloadOffset() - description - RecordType.Sizes.HEADER;
    if (at < 0) {
      throw new IllegalStateException(
          "a record's header and a description of %d bytes do not fit the %d bytes before %s"
              .formatted(description, batch.payloadOffset(), batch));
    }
    ByteBuffer slab = batch.lease().buffer();
    int bodyAt = at + RecordType.Sizes.HEADER;
    PagesWriter.write(batch, slab.duplicate().limit(batch.payloadOffset()).position(bodyAt));
    int bodyBytes = description + batch.storedBytes();
    putHeader(RecordType.PAGES, slab, at, bodyBytes);
    int recordBytes = RecordType.Sizes.HEADER + bodyBytes;
    bytesWritten += recordBytes;
    return new TransportBuffer(slab.slice(at, recordBytes), batch::release);
  }

  /** {@return how many bytes the record of a batch has, were it written as it is} */
  public static int recordBytes(PageBatch batch) {
    return RecordType.Sizes.HEADER + PagesWriter.descriptionBytes(batch) + batch.storedBytes();
  }

  /** {@return how many bytes the records written so far have, the preamble included} */
  public long bytesWritten() {
    return bytesWritten;
  }
}
