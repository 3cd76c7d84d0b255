package io.pageflux.migration;

/**
 * What compression did so far.
 *
 * @param batches batches that were compressed
 * @param rawBatches batches that compression would not have made smaller
 * @param bytes bytes of page contents, raw and delta, before compression
 * @param compressedBytes bytes of page contents as they were sent
 */
public record CompressionStatistics(
    long batches, long rawBatches, long bytes, long compressedBytes) {

  /** {@return how many bytes became one; 1 if there were none} */
  public double compressionRate() {
    return compressedBytes == 0 ? 1 : (double) bytes / compressedBytes;
  }
}
