package io.pageflux.qemu.stream;

/**
 * What a record of the RAM section is, in the low bits of its address.
 *
 * <p>Source: QEMU, {@code migration/ram.c}, {@code RAM_SAVE_FLAG_*}.
 */
final class RamFlags {

  static final int FULL = 0x001;
  static final int ZERO = 0x002;
  static final int MEM_SIZE = 0x004;
  static final int PAGE = 0x008;
  static final int EOS = 0x010;

  /** The page is of the same block as the one before it, whose name is left out. */
  static final int CONTINUE = 0x020;

  static final int XBZRLE = 0x040;
  static final int HOOK = 0x080;
  static final int COMPRESS_PAGE = 0x100;
  static final int MULTIFD_FLUSH = 0x200;

  /** The first byte of an XBZRLE record's payload. */
  static final int ENCODING_XBZRLE = 0x01;

  private RamFlags() {}

  /** The names of the flags in a word, for messages. */
  static String names(long flags) {
    String[] names = {
      "FULL",
      "ZERO",
      "MEM_SIZE",
      "PAGE",
      "EOS",
      "CONTINUE",
      "XBZRLE",
      "HOOK",
      "COMPRESS_PAGE",
      "MULTIFD_FLUSH"
    };
    StringBuilder text = new StringBuilder("0x%03x".formatted(flags));
    String separator = " (";
    for (int i = 0; i < names.length; i++) {
      if ((flags & 1L << i) != 0) {
        text.append(separator).append(names[i]);
        separator = ", ";
      }
    }
    return text.append(separator.equals(" (") ? "" : ")").toString();
  }
}
