package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/** Gathers pages in batches: one record after the other into the slab of the current batch. */
final class PageGatherer implements AutoCloseable {

  private final StreamInput input;
  private final BatchGeometry geometry;
  private final int pageSizeBytes;
  private final ByteBuffer compressed;
  private @Nullable PageInflater inflater;
  private @Nullable PageBatch batch;
  private @Nullable Lease spare;
  private long batchAt;
  private boolean slabNeeded;

  // The page that is being read into the batch, if one is.
  private boolean filling;
  private long page;
  private @Nullable ByteBuffer target;

  PageGatherer(StreamInput input, BatchGeometry geometry, int pageSizeBytes) {
    this.input = input;
    this.geometry = geometry;
    this.pageSizeBytes = pageSizeBytes;
    this.compressed = ByteBuffer.allocate(PageInflater.mostBytes(pageSizeBytes));
  }

  boolean needsSlab() {
    return slabNeeded;
  }

  void supply(Lease lease) {
    if (!slabNeeded) {
      lease.release();
      throw new IllegalStateException("no slab is needed");
    }
    slabNeeded = false;
    spare = lease;
  }

  /** Whether a page has been begun and is not complete. */
  boolean isFilling() {
    return filling;
  }

  /**
   * Makes room for a page. If a slab {@linkplain #needsSlab is needed} afterwards, it was not made.
   *
   * @return the batch that has to go before there is room, or null
   */
  @Nullable QemuElement open(int blockIndex, RamBlockLayout block, long nextPage) {
    PageBatch open = batch;
    if (open != null
        && (open.blockIndex() != blockIndex
            || !open.hasRoom()
            || nextPage <= open.page(open.size() - 1))) {
      return take();
    }
    if (open == null) {
      Lease lease = spare;
      if (lease == null) {
        slabNeeded = true;
        input.starve();
        return null;
      }
      spare = null;
      batchAt = input.start();
      batch = new PageBatch(blockIndex, block, lease, geometry.headroomBytes(), geometry);
    }
    page = nextPage;
    filling = true;
    target = null;
    return null;
  }

  /** Fills the page with one byte. */
  void fill(PageKind kind, int value) {
    PageBatch open = open();
    if (kind == PageKind.RAW) {
      open.slab()
          .asSlice(open.payloadOffset() + open.payloadBytes(), pageSizeBytes)
          .fill((byte) value);
      complete(PageKind.RAW, pageSizeBytes);
    } else {
      complete(PageKind.ZERO, 0);
    }
  }

  /** Copies the page's contents. {@return whether all of them were there} */
  boolean copy(PageKind kind, int bytes, ByteBuffer in) {
    ByteBuffer to = target;
    if (to == null) {
      to = place(bytes);
      target = to;
    }
    input.move(in, to);
    if (to.hasRemaining()) {
      input.starve();
      return false;
    }
    complete(kind, bytes);
    return true;
  }

  private ByteBuffer place(int bytes) {
    PageBatch open = open();
    return open.lease().buffer().slice(open.payloadOffset() + open.payloadBytes(), bytes);
  }

  /** Decompresses the page. {@return whether all of it was there} */
  boolean inflate(int bytes, ByteBuffer in) {
    ByteBuffer from = target;
    if (from == null) {
      from = compressed.clear().limit(bytes);
      target = from;
    }
    input.move(in, from);
    if (from.hasRemaining()) {
      input.starve();
      return false;
    }
    PageInflater zlib = inflater;
    if (zlib == null) {
      zlib = new PageInflater();
      inflater = zlib;
    }
    if (!zlib.inflate(from.flip(), place(pageSizeBytes))) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "page %d of RAM block '%s' cannot be decompressed (at byte %d of QEMU's stream)"
              .formatted(page, open().block().name(), input.start()));
    }
    complete(PageKind.RAW, pageSizeBytes);
    return true;
  }

  private void complete(PageKind kind, int bytes) {
    open().append(page, kind, bytes);
    filling = false;
    target = null;
  }

  private PageBatch open() {
    PageBatch open = batch;
    if (open == null) {
      throw new IllegalStateException("no batch is open");
    }
    return open;
  }

  /** {@return the batch so far, or null if there is none} */
  @Nullable QemuElement take() {
    PageBatch complete = batch;
    batch = null;
    return complete == null ? null : new QemuElement.Pages(complete, batchAt);
  }

  @Override
  public void close() {
    PageBatch open = batch;
    if (open != null) {
      open.release();
      batch = null;
    }
    Lease unused = spare;
    if (unused != null) {
      unused.release();
      spare = null;
    }
    PageInflater zlib = inflater;
    if (zlib != null) {
      zlib.close();
      inflater = null;
    }
    slabNeeded = false;
  }
}
