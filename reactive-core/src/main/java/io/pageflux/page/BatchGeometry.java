package io.pageflux.page;

/**
 * How large a batch of pages may become, and so how large a slab is.
 *
 * @param maxPages the most pages in a batch, 1 to 4,096
 * @param payloadBytes the most bytes of page contents in a batch, 4 KiB to 8 MiB, a multiple of
 *     4,096
 */
public record BatchGeometry(int maxPages, int payloadBytes) {

  /** 64 pages of 4 KiB: large enough for zstd to profit, small enough for a core's cache. */
  public static final BatchGeometry DEFAULT = new BatchGeometry(64, 256 << 10);

  /** The most pages that a batch may have. */
  public static final int MAX_PAGES = 4096;

  /** The most bytes of page contents that a batch may have. */
  public static final int MAX_PAYLOAD_BYTES = 8 << 20;

  /** The bytes that a page may need in a batch's description on the wire, at the most. */
  public static final int DESCRIPTION_BYTES_PER_PAGE = 20;

  /** The bytes that a batch's description and its record need on the wire besides, at the most. */
  public static final int DESCRIPTION_BYTES = 128;

  /**
   * Checks the limits.
   *
   * @throws IllegalArgumentException if one is exceeded
   */
  public BatchGeometry {
    if (maxPages < 1 || maxPages > MAX_PAGES) {
      throw new IllegalArgumentException(
          "a batch has 1 to " + MAX_PAGES + " pages, but " + maxPages + " were asked for");
    }
    if (payloadBytes < 4096 || payloadBytes > MAX_PAYLOAD_BYTES || payloadBytes % 4096 != 0) {
      throw new IllegalArgumentException(
          "a batch's payload is a multiple of 4096 up to "
              + MAX_PAYLOAD_BYTES
              + " bytes, but "
              + payloadBytes
              + " were asked for");
    }
  }

  /**
   * {@return the default, or what it takes to hold one page of a larger size}
   *
   * @param pageSizeBytes the largest page size that a batch must hold
   */
  public static BatchGeometry forPageSize(int pageSizeBytes) {
    return new BatchGeometry(DEFAULT.maxPages(), Math.max(DEFAULT.payloadBytes(), pageSizeBytes));
  }

  /**
   * {@return the bytes before the payload of an outgoing batch} They are kept free for its
   * description, so that a record is one contiguous piece of memory; a multiple of 4,096.
   */
  public int headroomBytes() {
    return (DESCRIPTION_BYTES + maxPages * DESCRIPTION_BYTES_PER_PAGE + 4095) & -4096;
  }

  /** {@return the size of a slab that holds one batch: headroom and payload, in bytes} */
  public int slabBytes() {
    return headroomBytes() + payloadBytes;
  }

  /** {@return how many pages of a size fit into one batch} */
  public int pagesPerBatch(int pageSizeBytes) {
    return Math.min(maxPages, payloadBytes / pageSizeBytes);
  }
}
