package io.pageflux.qemu.stream;

/**
 * What a stream is to be, that is written for {@code -incoming}.
 *
 * @param machineType the destination's machine, such as {@code pc-i440fx-7.2}; QEMU 7.2 accepts any
 *     beginning of it
 * @param layout the RAM blocks that the destination will find in the stream; it may have more,
 *     which then stay as they are
 * @param targetPageSizeBytes the guest's smallest page size: 4,096 on x86
 * @param sectionBytes when a section of the RAM has so many bytes, another is begun
 * @param compressionLevel 1 to 9 to compress raw pages with zlib, one by one, for which the
 *     destination must have the capability {@code compress}; 0 for none
 */
public record QemuStreamSpec(
    String machineType,
    QemuRamLayout layout,
    int targetPageSizeBytes,
    int sectionBytes,
    int compressionLevel) {

  /** Checks the numbers. */
  public QemuStreamSpec {
    layout.toRamLayout(targetPageSizeBytes);
    if (sectionBytes < 1) {
      throw new IllegalArgumentException("sections of " + sectionBytes + " bytes");
    }
    if (compressionLevel < 0 || compressionLevel > 9) {
      throw new IllegalArgumentException(
          "a compression level of " + compressionLevel + ", where 0 to 9 may be");
    }
  }

  /** Makes a stream of 4 KiB pages in sections of 4 MiB, not compressed. */
  public QemuStreamSpec(String machineType, QemuRamLayout layout) {
    this(machineType, layout, 4096, 4 << 20, 0);
  }

  /** {@return the same with compressed pages} */
  public QemuStreamSpec withCompression(int level) {
    return new QemuStreamSpec(machineType, layout, targetPageSizeBytes, sectionBytes, level);
  }

  /** {@return the same with sections of a size} */
  public QemuStreamSpec withSectionBytes(int bytes) {
    return new QemuStreamSpec(machineType, layout, targetPageSizeBytes, bytes, compressionLevel);
  }
}
