package io.pageflux.memory;

import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * The name and shape of one RAM block, without its bytes.
 *
 * @param name how both sides of a migration call the block; 1 to 255 bytes of UTF-8
 * @param sizeBytes a positive multiple of the page size
 * @param pageSizeBytes a power of two from 512 B to 2 MiB
 */
public record RamBlockLayout(String name, long sizeBytes, int pageSizeBytes) {

  /** The longest name in bytes of UTF-8, as in QEMU's stream. */
  public static final int MAX_NAME_BYTES = 255;

  /** The smallest page size in bytes. */
  public static final int MIN_PAGE_SIZE_BYTES = 512;

  /** The largest page size in bytes: a page is sent whole, and must fit into a batch. */
  public static final int MAX_PAGE_SIZE_BYTES = 2 << 20;

  /** The page size of a block that does not say otherwise: the target page of x86, in bytes. */
  public static final int DEFAULT_PAGE_SIZE_BYTES = 4096;

  /**
   * Checks the shape.
   *
   * @throws IllegalArgumentException if the name is empty or too long, the page size is not a power
   *     of two within the limits, or the size is not a positive multiple of it
   */
  public RamBlockLayout {
    Objects.requireNonNull(name, "name");
    int nameBytes = name.getBytes(StandardCharsets.UTF_8).length;
    if (nameBytes == 0 || nameBytes > MAX_NAME_BYTES) {
      throw new IllegalArgumentException(
          "a RAM block's name has 1 to "
              + MAX_NAME_BYTES
              + " bytes, but this one has "
              + nameBytes);
    }
    if (Integer.bitCount(pageSizeBytes) != 1
        || pageSizeBytes < MIN_PAGE_SIZE_BYTES
        || pageSizeBytes > MAX_PAGE_SIZE_BYTES) {
      throw new IllegalArgumentException(
          "RAM block '%s': page size %d is not a power of two from %d to %d bytes"
              .formatted(name, pageSizeBytes, MIN_PAGE_SIZE_BYTES, MAX_PAGE_SIZE_BYTES));
    }
    if (sizeBytes <= 0 || sizeBytes % pageSizeBytes != 0) {
      throw new IllegalArgumentException(
          "RAM block '%s': size %d is not a positive multiple of its page size %d"
              .formatted(name, sizeBytes, pageSizeBytes));
    }
  }

  /** {@return the number of pages} */
  public long pageCount() {
    return sizeBytes / pageSizeBytes;
  }

  @Override
  public String toString() {
    return "%s: %d bytes in pages of %d".formatted(name, sizeBytes, pageSizeBytes);
  }
}
