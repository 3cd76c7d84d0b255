package io.pageflux.qemu.stream;

import org.jspecify.annotations.Nullable;

/**
 * What a command section tells the destination. The {@linkplain #code() code} is what travels.
 *
 * <p>Source of the numbers: QEMU, {@code migration/savevm.c}.
 */
public enum QemuCommand {
  /** The destination may answer on the same connection. */
  OPEN_RETURN_PATH(1, 0, 0),
  /** The destination is to answer with the number that this carries. */
  PING(2, 4, 4),
  /** Post-copy may follow: block page sizes and target page size. */
  POSTCOPY_ADVISE(3, 0, 16),
  /** Post-copy: be ready for pages at any time. */
  POSTCOPY_LISTEN(4, 0, 0),
  /** Post-copy: the guest runs at the destination. */
  POSTCOPY_RUN(5, 0, 0),
  /** Post-copy: pages that are out of date. */
  POSTCOPY_RAM_DISCARD(6, 1, 0xffff),
  /** Post-copy: a whole stream of sections follows, with its length. */
  PACKAGED(7, 4, 4),
  /** COLO: checkpoints follow. */
  ENABLE_COLO(8, 0, 0),
  /** Post-copy goes on after the connection was lost. */
  POSTCOPY_RESUME(9, 0, 0),
  /** Post-copy recovery: which pages of a block have arrived? */
  RECV_BITMAP(10, 1, 256),
  /** The source has stopped its guest; since QEMU 10.0. */
  SWITCHOVER_START(11, 0, 0);

  private static final QemuCommand[] BY_CODE = values();

  private final int code;
  private final int minPayloadBytes;
  private final int maxPayloadBytes;

  QemuCommand(int code, int minPayloadBytes, int maxPayloadBytes) {
    this.code = code;
    this.minPayloadBytes = minPayloadBytes;
    this.maxPayloadBytes = maxPayloadBytes;
  }

  /** {@return the number that stands for this command in the stream} */
  public int code() {
    return code;
  }

  /** Whether so many bytes of payload fit this command. */
  boolean mayCarry(int payloadBytes) {
    return payloadBytes >= minPayloadBytes && payloadBytes <= maxPayloadBytes;
  }

  /** {@return whether this belongs to pre-copy; only such commands are read in general} */
  public boolean isPrecopy() {
    return this == OPEN_RETURN_PATH || this == PING || this == SWITCHOVER_START;
  }

  /**
   * {@return whether this is one of post-copy's that a source says to begin it; read only where
   * post-copy is expected} The others are in a package, or begin another connection.
   */
  public boolean beginsPostcopy() {
    return this == POSTCOPY_ADVISE || this == POSTCOPY_RAM_DISCARD || this == PACKAGED;
  }

  static @Nullable QemuCommand ofCode(int code) {
    return code >= 1 && code <= BY_CODE.length ? BY_CODE[code - 1] : null;
  }
}
