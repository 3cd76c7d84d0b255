package io.pageflux.qemu.stream;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** Fills batches with pages, each in a slab that was supplied. */
final class BatchFiller {

  private final Piece piece;
  private final BatchGeometry geometry;
  private final int pageSize;
  private int pagesPerBatch;

  private final SpareSlab spare;
  private @Nullable PageBatch batch;
  private long batchStart;

  // The page whose contents are coming.
  private int contentBytes;
  private int received;

  /** The beginning of a page whose batch had to go before the page was complete. */
  private @Nullable ByteBuffer aside;

  BatchFiller(Piece piece, BatchGeometry geometry, int pageSize, SpareSlab spare) {
    this.spare = spare;
    this.piece = piece;
    this.geometry = geometry;
    this.pageSize = pageSize;
    this.pagesPerBatch = geometry.pagesPerBatch(pageSize);
  }

  /** From here on batches are of so many bytes of pages at the most, but for one page. */
  void keepSmall(int bytes) {
    pagesPerBatch = Math.clamp(bytes / pageSize, 1, pagesPerBatch);
  }

  boolean needsSlab() {
    return batch == null && spare.isMissing();
  }

  /**
   * Makes sure that the batch can take a page next, if there is a slab for it.
   *
   * @return the batch that has to be passed on first; then call this again
   */
  QemuElement.@Nullable Pages makeRoom(int index, RamBlockLayout block, long page) {
    PageBatch open = batch;
    if (open != null
        && !open.isEmpty()
        && (open.blockIndex() != index || page <= open.page(open.size() - 1))) {
      return emit();
    }
    Lease lease = open == null ? spare.take() : null;
    if (lease != null) {
      // The headroom stays free for whoever sends the batch on.
      batch = new PageBatch(index, block, lease, geometry.headroomBytes(), geometry);
    }
    return null;
  }

  /** The batch as it is, unless there is none or it is empty. */
  QemuElement.@Nullable Pages emit() {
    PageBatch done = batch;
    if (done == null || done.isEmpty()) {
      return null;
    }
    batch = null;
    return new QemuElement.Pages(batchStart, done);
  }

  private PageBatch open() {
    if (batch == null) {
      throw new IllegalStateException("no batch was begun");
    }
    return batch;
  }

  /** Where the next page's contents go: room for one page. */
  ByteBuffer room() {
    PageBatch open = open();
    return open.lease().buffer().slice(open.payloadOffset() + open.payloadBytes(), pageSize);
  }

  /** Makes the next page's contents one byte, repeated. */
  void fill(byte value) {
    PageBatch open = open();
    open.slab().asSlice(open.payloadOffset() + open.payloadBytes(), pageSize).fill(value);
  }

  /** Begins to take the next page's contents. */
  void begin(int bytes) {
    contentBytes = bytes;
    received = 0;
    ByteBuffer begun = aside;
    if (begun != null) {
      received = begun.remaining();
      room().put(begun);
      aside = null;
    }
  }

  /** Takes what there is of the contents. {@return whether they are complete} */
  boolean take(ByteBuffer in) {
    int n = Math.min(contentBytes - received, in.remaining());
    PageBatch open = open();
    int at = open.payloadOffset() + open.payloadBytes() + received;
    open.lease().buffer().put(at, in, in.position(), n);
    in.position(in.position() + n);
    received += n;
    piece.passed(n);
    return received == contentBytes;
  }

  /**
   * Keeps what has come of a page elsewhere, so that the batch before it can go.
   *
   * @return whether there is such a batch
   */
  boolean setAside() {
    if (open().isEmpty()) {
      return false;
    }
    byte[] begun = new byte[received];
    room().get(begun);
    aside = ByteBuffer.wrap(begun);
    return true;
  }

  /**
   * Counts a page whose contents are in the slab.
   *
   * @param recordStart where its record begins in the stream
   * @return the batch if it is full now
   */
  QemuElement.@Nullable Pages append(long page, PageKind kind, int length, long recordStart) {
    PageBatch open = open();
    if (open.isEmpty()) {
      batchStart = recordStart;
    }
    open.append(page, kind, length);
    return open.size() >= pagesPerBatch ? emit() : null;
  }

  /** Gives the batch's slab back. */
  void close() {
    if (batch != null) {
      batch.release();
      batch = null;
    }
    aside = null;
  }
}
