package io.pageflux.qemu.stream;

/** What the flags of a RAM record say. */
final class RecordFlags {

  /** One of these says how a page comes. */
  static final int PAGES =
      QemuFormat.FLAG_ZERO
          | QemuFormat.FLAG_PAGE
          | QemuFormat.FLAG_XBZRLE
          | QemuFormat.FLAG_COMPRESS_PAGE;

  private RecordFlags() {}

  /** Refuses flags that are not those of a page record, which the piece begins with. */
  static void requirePage(int flags, Piece piece) {
    int payload = flags & ~QemuFormat.FLAG_CONTINUE;
    if (Integer.bitCount(payload) == 1 && (payload & PAGES) != 0) {
      return;
    }
    String what =
        switch (payload) {
          case QemuFormat.FLAG_HOOK -> "RDMA is not supported, migrate over TCP or a socket";
          case QemuFormat.FLAG_FULL -> "obsolete since 2009";
          default -> "no such combination is known, so the stream is damaged or newer than QEMU 10";
        };
    throw piece.protocol(0, "a RAM record with flags 0x%x: %s".formatted(flags, what));
  }

  /** The form of a page record. */
  static QemuRecordType type(int flags, int fill) {
    return switch (flags & PAGES) {
      case QemuFormat.FLAG_ZERO -> fill == 0 ? QemuRecordType.ZERO : QemuRecordType.FILLED;
      case QemuFormat.FLAG_XBZRLE -> QemuRecordType.XBZRLE;
      case QemuFormat.FLAG_COMPRESS_PAGE -> QemuRecordType.COMPRESSED;
      default -> QemuRecordType.PAGE;
    };
  }
}
