package io.pageflux.qemu.stream;

/**
 * The numbers of the stream.
 *
 * <p>Source: QEMU, {@code migration/savevm.c} and {@code migration/ram.c}, versions 7.2 and 10.2;
 * tried against 7.2.
 */
final class QemuFormat {

  static final int MAGIC = 0x5145564d;
  static final int VERSION = 3;

  /** What the additional connections of multifd begin with. */
  static final int MULTIFD_MAGIC = 0x11223344;

  static final int HEADER_BYTES = 8;

  // What a section begins with.
  static final int EOF = 0x00;
  static final int SECTION_START = 0x01;
  static final int SECTION_PART = 0x02;
  static final int SECTION_END = 0x03;
  static final int SECTION_FULL = 0x04;
  static final int SUBSECTION = 0x05;
  static final int VM_DESCRIPTION = 0x06;
  static final int CONFIGURATION = 0x07;
  static final int COMMAND = 0x08;
  static final int FOOTER = 0x7e;

  static final String RAM = "ram";
  static final int RAM_VERSION = 4;

  // What is in the low bits of a RAM record's address.
  static final int FLAG_FULL = 0x001;
  static final int FLAG_ZERO = 0x002;
  static final int FLAG_MEM_SIZE = 0x004;
  static final int FLAG_PAGE = 0x008;
  static final int FLAG_EOS = 0x010;
  static final int FLAG_CONTINUE = 0x020;
  static final int FLAG_XBZRLE = 0x040;
  static final int FLAG_HOOK = 0x080;
  static final int FLAG_COMPRESS_PAGE = 0x100;
  static final int FLAG_MULTIFD_FLUSH = 0x200;

  /** Comes before an XBZRLE page, and says that it is one. */
  static final int ENCODING_XBZRLE = 0x01;

  // Bounds of ours on what the stream does not bound.
  static final int MAX_MACHINE_TYPE_BYTES = 1024;
  static final int MAX_CAPABILITIES = 64;

  /** The flags have to fit below the page size. */
  static final int MIN_PAGE_BITS = 10;

  static final int MAX_PAGE_BITS = 21;

  static final String IGNORE_SHARED = "x-ignore-shared";
  static final String MAPPED_RAM = "mapped-ram";

  private QemuFormat() {}

  /** The most bytes that zlib makes of a page, as its {@code compressBound} has it. */
  static int compressBound(int pageSizeBytes) {
    return pageSizeBytes
        + (pageSizeBytes >> 12)
        + (pageSizeBytes >> 14)
        + (pageSizeBytes >> 25)
        + 13;
  }

  /** What people call a section type. */
  static String sectionName(int type) {
    return switch (type) {
      case EOF -> "end of file";
      case SECTION_START -> "START";
      case SECTION_PART -> "PART";
      case SECTION_END -> "END";
      case SECTION_FULL -> "FULL (a device's state)";
      case SUBSECTION -> "a subsection";
      case VM_DESCRIPTION -> "the description of the devices";
      case CONFIGURATION -> "the configuration";
      case COMMAND -> "a command";
      case FOOTER -> "a footer";
      default -> "unknown";
    };
  }
}
