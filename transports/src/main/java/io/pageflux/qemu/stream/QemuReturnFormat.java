package io.pageflux.qemu.stream;

/**
 * The numbers of the return path.
 *
 * <p>Source: QEMU, {@code migration/migration.c} and {@code migration/ram.c}; tried against 7.2.
 */
final class QemuReturnFormat {

  static final int TYPE_SHUT = 1;
  static final int TYPE_PONG = 2;
  static final int TYPE_REQ_PAGES_ID = 3;
  static final int TYPE_REQ_PAGES = 4;
  static final int TYPE_RECV_BITMAP = 5;
  static final int TYPE_RESUME_ACK = 6;
  static final int TYPE_SWITCHOVER_ACK = 7;

  /** What every message begins with: its type and the length of what follows. */
  static final int HEADER_BYTES = 4;

  /** A request for pages without the block's name. */
  static final int REQUEST_BYTES = 12;

  static final long BITMAP_END = 0x0123456789abcdefL;
  static final int RESUME_ACK_VALUE = 1;

  private QemuReturnFormat() {}
}
