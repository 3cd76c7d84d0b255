package io.pageflux.qemu.capture;

import io.pageflux.qemu.stream.QemuStreamSummary;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;

/**
 * How far a capture is.
 *
 * @param directory where the files are
 * @param streamBytes bytes taken from QEMU
 * @param ramBytes the sum of the RAM blocks' lengths; 0 before they are known
 * @param zeroPages pages that came as nothing but zeros; a page counts each time it comes
 * @param wholePages pages that came whole, compressed ones among them
 * @param deltaPages pages that came as XBZRLE
 * @param images the RAM blocks' files, in the stream's order; none before they are known
 * @param returnPath whether QEMU waits for the word that the capture is complete
 * @param duration since QEMU has connected
 * @param summary what the stream holds, when it is complete
 */
public record CaptureInfo(
    Path directory,
    long streamBytes,
    long ramBytes,
    long zeroPages,
    long wholePages,
    long deltaPages,
    List<Image> images,
    boolean returnPath,
    Duration duration,
    Optional<QemuStreamSummary> summary) {

  /**
   * A RAM block's image.
   *
   * @param block the block's name
   * @param file the file's name in the directory, when it is complete
   * @param sizeBytes the block's and the file's length
   * @param pageSizeBytes the size of the pages in which the block came
   */
  public record Image(String block, String file, long sizeBytes, int pageSizeBytes) {}

  /** {@return whether the files are complete, and have their names} */
  public boolean complete() {
    return summary.isPresent();
  }
}
