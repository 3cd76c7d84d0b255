package io.pageflux.qemu.multifd;

/**
 * How the pages of a packet are compressed: QEMU's parameter {@code multifd-compression}. Both
 * sides must be set to the same.
 */
public enum MultifdCompression {
  /** The pages one after the other. */
  NONE(0),
  /** One zlib stream for each channel and the whole migration, flushed at the end of a packet. */
  ZLIB(2),
  /** zstd: one frame that is flushed for each packet, or any number of whole frames in each. */
  ZSTD(4);

  private final int flag;

  MultifdCompression(int flag) {
    this.flag = flag;
  }

  /** {@return the bits that stand for it in a packet's flags} */
  int flag() {
    return flag;
  }

  /** {@return what a packet's method bits mean, for a message} */
  static String nameOf(int flag) {
    return switch (flag) {
      case 0 -> "none";
      case 2 -> "zlib";
      case 4 -> "zstd";
      case 8 -> "qpl";
      case 16 -> "uadk";
      case 32 -> "qatzip";
      default -> "0x%02x".formatted(flag);
    };
  }
}
