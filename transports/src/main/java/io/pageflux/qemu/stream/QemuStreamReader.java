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

  private final Piece piece = new Piece();
  private final SpareSlab spare;
  private final FramingReader framing;
  private boolean closed;

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
    this(geometry, targetPageSizeBytes, false, listener);
  }

  private QemuStreamReader(
      BatchGeometry geometry, int targetPageSizeBytes, boolean postcopy, RecordListener listener) {
    this.spare = new SpareSlab(geometry);
    this.framing =
        new FramingReader(piece, geometry, targetPageSizeBytes, postcopy, spare, listener);
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
   * The bytes of pages of a batch once the guest has been handed over: somebody may wait for any of
   * them, who is not to wait for many others. Smaller ones compress much worse.
   */
  public static final int POSTCOPY_BATCH_BYTES = 32 << 10;

  /**
   * Makes a reader of a stream that may go over to post-copy. What the package with the devices'
   * state holds is passed on in {@link QemuElement.Packaged pieces}, unread; and so is, as {@link
   * QemuElement.DeviceTail}, all of a stream by which a post-copy goes on whose connection was
   * lost. After the hand-over batches are of {@link #POSTCOPY_BATCH_BYTES} at the most.
   *
   * @param geometry how large batches, and the slabs that will be supplied, are
   * @param targetPageSizeBytes as for the constructor
   * @throws IllegalArgumentException as the constructor throws it
   */
  public static QemuStreamReader withPostcopy(BatchGeometry geometry, int targetPageSizeBytes) {
    return new QemuStreamReader(geometry, targetPageSizeBytes, true, RecordListener.NONE);
  }

  /**
   * {@return whether the guest has been given to the destination in post-copy, so that from here on
   * somebody may wait for each page: {@link #flush} when there are no more bytes for now}
   */
  public boolean isHandedOver() {
    return framing.isHandedOver();
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
      return framing.read(in);
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
    if (closed) {
      throw new IllegalStateException("the reader has failed before, or was closed");
    }
  }

  /** {@return whether the next page needs a slab before reading can go on} */
  public boolean needsSlab() {
    RamReader ram = framing.ram();
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
    if (closed) {
      lease.release();
    } else {
      spare.put(lease);
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
    RamReader ram = framing.ram();
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
    MigrationException error = framing.endedEarly();
    if (error != null) {
      close();
      throw error;
    }
    return null;
  }

  /** {@return how many bytes of the stream were taken so far} */
  public long bytesRead() {
    return piece.position();
  }

  /** Gives back the slabs that the reader has. The reader cannot be used any more. */
  @Override
  public void close() {
    closed = true;
    spare.close();
    RamReader ram = framing.ram();
    if (ram != null) {
      ram.close();
    }
  }
}
