package io.pageflux.page;

import io.pageflux.memory.RamBlockLayout;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Some pages of one block, in ascending order, with their contents in one leased slab.
 *
 * <p>This is the element that flows through every pipeline. Its description is a struct of arrays:
 * per page its index in the block, its {@link PageKind} and the length of its contents; the
 * contents lie one after the other, without gaps, from {@link #payloadOffset()} of the slab. While
 * a batch is {@linkplain #isCompressed() compressed}, the stored bytes are one compressed piece and
 * the description still speaks of what they decompress to.
 *
 * <p><b>Ownership:</b> a batch belongs to whoever received it last by {@code onNext}, who may
 * change it in place and either passes it on or {@linkplain #release() releases} it. It is not for
 * use by two threads at once. Releasing twice does nothing.
 *
 * <p><b>Memory bound:</b> one slab, and 13 bytes of heap for each of {@link
 * BatchGeometry#maxPages()} pages.
 */
public final class PageBatch {

  private final int blockIndex;
  private final RamBlockLayout block;
  private Lease lease;
  private final int payloadOffset;
  private final int capacityBytes;

  private final long[] pages;
  private final byte[] kinds;
  private final int[] lengths;
  private int size;

  private int payloadBytes;
  private int storedBytes;
  private boolean compressed;

  /**
   * Makes an empty batch that owns a lease.
   *
   * @param blockIndex the block's place in the layout
   * @param block the block's shape
   * @param lease the slab; from here on the batch's to release
   * @param payloadOffset where in the slab the pages' contents begin
   * @param geometry how many pages and bytes there may be
   */
  public PageBatch(
      int blockIndex,
      RamBlockLayout block,
      Lease lease,
      int payloadOffset,
      BatchGeometry geometry) {
    this.blockIndex = blockIndex;
    this.block = block;
    this.lease = lease;
    this.payloadOffset = payloadOffset;
    this.capacityBytes = geometry.payloadBytes();
    this.pages = new long[geometry.maxPages()];
    this.kinds = new byte[geometry.maxPages()];
    this.lengths = new int[geometry.maxPages()];
  }

  /** {@return the block's place in its layout} */
  public int blockIndex() {
    return blockIndex;
  }

  /** {@return the block's name and shape} */
  public RamBlockLayout block() {
    return block;
  }

  /** {@return the size of a page of this block in bytes} */
  public int pageSizeBytes() {
    return block.pageSizeBytes();
  }

  /** {@return the number of pages} */
  public int size() {
    return size;
  }

  /** {@return whether there is no page; such a batch may be dropped} */
  public boolean isEmpty() {
    return size == 0;
  }

  /** {@return whether another page, raw, would still fit} */
  public boolean hasRoom() {
    return size < pages.length && payloadBytes + block.pageSizeBytes() <= capacityBytes;
  }

  /** {@return the index in the block of the i-th page of this batch} */
  public long page(int i) {
    return pages[checked(i)];
  }

  /** {@return what the batch holds of its i-th page} */
  public PageKind kind(int i) {
    return PageKind.ofCode(kinds[checked(i)]);
  }

  /** {@return the bytes of contents of the i-th page} */
  public int length(int i) {
    return lengths[checked(i)];
  }

  private int checked(int i) {
    if (i < 0 || i >= size) {
      throw new IndexOutOfBoundsException(i + " of " + size + " pages");
    }
    return i;
  }

  /** {@return the number of pages of a kind} */
  public int count(PageKind kind) {
    int n = 0;
    for (int i = 0; i < size; i++) {
      if (kinds[i] == kind.code()) {
        n++;
      }
    }
    return n;
  }

  /** {@return the bytes of contents of all pages, not compressed} */
  public int payloadBytes() {
    return payloadBytes;
  }

  /** {@return the bytes that the slab holds of them now: fewer if they are compressed} */
  public int storedBytes() {
    return storedBytes;
  }

  /** {@return whether the stored bytes are compressed} */
  public boolean isCompressed() {
    return compressed;
  }

  /** {@return where in the slab the stored bytes begin} */
  public int payloadOffset() {
    return payloadOffset;
  }

  /** {@return the most bytes of contents that this batch may have} */
  public int capacityBytes() {
    return capacityBytes;
  }

  /** {@return the lease of the slab} */
  public Lease lease() {
    return lease;
  }

  /** {@return the slab} */
  public MemorySegment slab() {
    return lease.segment();
  }

  /** {@return the stored bytes} */
  public MemorySegment stored() {
    return lease.segment().asSlice(payloadOffset, storedBytes);
  }

  /**
   * Appends a page whose contents the caller has written, or will write, behind those of the pages
   * before it.
   *
   * @param page its index in the block, above that of the page before
   * @param kind what its contents are
   * @param length how many bytes they have
   * @throws IllegalArgumentException if the page is not above the one before or outside the block,
   *     its length does not fit its kind, or the batch has no room for it
   * @throws IllegalStateException if the batch is compressed
   */
  public void append(long page, PageKind kind, int length) {
    requirePlain();
    if (page < 0 || page >= block.pageCount()) {
      throw new IllegalArgumentException(
          "page %d is outside block '%s' of %d pages"
              .formatted(page, block.name(), block.pageCount()));
    }
    if (size > 0 && page <= pages[size - 1]) {
      throw new IllegalArgumentException(
          "page %d of block '%s' follows page %d in a batch"
              .formatted(page, block.name(), pages[size - 1]));
    }
    checkLength(page, kind, length);
    if (size == pages.length || length > capacityBytes - payloadBytes) {
      throw new IllegalArgumentException(
          "a batch holds %d pages and %d bytes, and page %d with %d bytes is too much for it"
              .formatted(pages.length, capacityBytes, page, length));
    }
    pages[size] = page;
    kinds[size] = (byte) kind.code();
    lengths[size] = length;
    size++;
    payloadBytes += length;
    storedBytes = payloadBytes;
  }

  private void checkLength(long page, PageKind kind, int length) {
    boolean fits =
        switch (kind) {
          case ZERO, PLACED -> length == 0;
          case RAW -> length == block.pageSizeBytes();
          // As long as the page is no use, but QEMU sends such, and they are to be passed on as
          // they are.
          case DELTA -> length > 0 && length <= block.pageSizeBytes();
        };
    if (!fits) {
      throw new IllegalArgumentException(
          "page %d of block '%s' cannot be %s in %d bytes"
              .formatted(page, block.name(), kind, length));
    }
  }

  /**
   * Begins to change the batch page by page, from the first on; see {@link PageRewriter}.
   *
   * @throws IllegalStateException if the batch is compressed
   */
  public PageRewriter rewrite() {
    requirePlain();
    return new PageRewriter(this);
  }

  private void requirePlain() {
    if (compressed) {
      throw new IllegalStateException("the batch is compressed: decompress it first");
    }
  }

  void set(int i, long page, PageKind kind, int length) {
    pages[i] = page;
    kinds[i] = (byte) kind.code();
    lengths[i] = length;
  }

  void truncate(int newSize, int newPayloadBytes) {
    size = newSize;
    payloadBytes = newPayloadBytes;
    storedBytes = newPayloadBytes;
  }

  /**
   * Replaces the contents of a page by contents of another kind or length, where the caller
   * rearranges the slab himself. The caller sees to it that the contents of all pages are
   * contiguous again when he is done.
   *
   * @throws IllegalArgumentException if the length does not fit the kind, or all contents together
   *     do not fit the batch
   * @throws IllegalStateException if the batch is compressed
   */
  public void replace(int i, PageKind kind, int length) {
    requirePlain();
    checkLength(page(i), kind, length);
    int total = payloadBytes - lengths[i] + length;
    if (total > capacityBytes) {
      throw new IllegalArgumentException(
          total + " bytes of contents in a batch for " + capacityBytes);
    }
    kinds[i] = (byte) kind.code();
    lengths[i] = length;
    payloadBytes = total;
    storedBytes = total;
  }

  /** Says that the stored bytes are now the contents compressed into so many bytes. */
  public void markCompressed(int compressedBytes) {
    requirePlain();
    if (compressedBytes <= 0 || compressedBytes > capacityBytes) {
      throw new IllegalArgumentException(
          compressedBytes + " compressed bytes in a batch for " + capacityBytes);
    }
    compressed = true;
    storedBytes = compressedBytes;
  }

  /** Says that the stored bytes are the contents themselves again. */
  public void markDecompressed() {
    if (!compressed) {
      throw new IllegalStateException("the batch is not compressed");
    }
    compressed = false;
    storedBytes = payloadBytes;
  }

  /**
   * Says that the contents are in another slab, from {@link #payloadOffset()} on. That one is the
   * batch's from here on, and the one with the compressed bytes is given back.
   *
   * @throws IllegalArgumentException if the contents do not fit the slab
   * @throws IllegalStateException if the batch is not compressed
   */
  public void markDecompressed(Lease into) {
    if (into.segment().byteSize() - payloadOffset < payloadBytes) {
      throw new IllegalArgumentException(
          "%d bytes of contents from byte %d of a slab of %d bytes"
              .formatted(payloadBytes, payloadOffset, into.segment().byteSize()));
    }
    markDecompressed();
    Lease before = lease;
    lease = into;
    before.release();
  }

  /** One page of a batch, for those who prefer pages one by one. */
  public record Page(String block, long page, PageKind kind, int length) {}

  /** {@return the batch's description page by page, for {@code flatMapIterable}} */
  public List<Page> pages() {
    List<Page> list = new ArrayList<>(size);
    for (int i = 0; i < size; i++) {
      list.add(new Page(block.name(), pages[i], kind(i), lengths[i]));
    }
    return list;
  }

  /** {@return whether the slab has been given back} */
  public boolean isReleased() {
    return lease.isReleased();
  }

  /** Gives the slab back. May be called from any thread, and again. */
  public void release() {
    lease.release();
  }

  @Override
  public String toString() {
    return "PageBatch[%s, %d pages (%d zero, %d raw, %d delta), %d bytes%s]"
        .formatted(
            block.name(),
            size,
            count(PageKind.ZERO),
            count(PageKind.RAW),
            count(PageKind.DELTA),
            storedBytes,
            compressed ? " compressed" : "");
  }
}
