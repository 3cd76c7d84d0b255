package io.pageflux.qemu.stream;

/** In which form a page record carries its page. */
public enum QemuRecordType {
  /** All bytes are zero. */
  ZERO,
  /**
   * All bytes are the same, but not zero. QEMU never sends it, and its newest versions refuse it.
   */
  FILLED,
  /** The page as it is. */
  PAGE,
  /** How the page differs from what was sent of it before. */
  XBZRLE,
  /** An XBZRLE record that changes nothing. */
  EMPTY_XBZRLE,
  /** A zlib stream; until QEMU 9.0. */
  COMPRESSED
}
