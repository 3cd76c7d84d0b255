package io.pageflux.qemu.stream;

import org.jspecify.annotations.Nullable;

/** The commands that a sender gives a receiver in the stream. */
public enum QemuCommand {
  /** Answer over the same connection. */
  OPEN_RETURN_PATH(1, 0, 0, true),
  /** Say pong. */
  PING(2, 4, 4, true),
  /** Post-copy may follow. */
  POSTCOPY_ADVISE(3, 0, 16, false),
  /** Post-copy: be ready to ask for pages. */
  POSTCOPY_LISTEN(4, 0, 0, false),
  /** Post-copy: start the guest. */
  POSTCOPY_RUN(5, 0, 0, false),
  /** Post-copy: pages that are not valid any more. */
  POSTCOPY_RAM_DISCARD(6, 20, 0xFFFF, false),
  /** Post-copy: a stream in the stream. */
  PACKAGED(7, 4, 4, false),
  /** COLO. */
  ENABLE_COLO(8, 0, 0, false),
  /** Post-copy goes on after a broken connection. */
  POSTCOPY_RESUME(9, 0, 0, false),
  /** Post-copy: say which pages have arrived. */
  RECV_BITMAP(10, 1, 256, false),
  /** The guest is stopped, the last pages follow; since version 10.0. */
  SWITCHOVER_START(11, 0, 0, true);

  private final int code;
  private final int minBytes;
  private final int maxBytes;
  private final boolean preCopy;

  QemuCommand(int code, int minBytes, int maxBytes, boolean preCopy) {
    this.code = code;
    this.minBytes = minBytes;
    this.maxBytes = maxBytes;
    this.preCopy = preCopy;
  }

  /** {@return its number in the stream} */
  public int code() {
    return code;
  }

  /** {@return whether it may have so many bytes of arguments} */
  boolean mayHave(int bytes) {
    return bytes >= minBytes && bytes <= maxBytes;
  }

  /** {@return whether it occurs without post-copy, recovery and COLO} */
  public boolean isPreCopy() {
    return preCopy;
  }

  /** {@return the command with a number, or null if there is none} */
  public static @Nullable QemuCommand ofCode(int code) {
    return code >= 1 && code <= values().length ? values()[code - 1] : null;
  }
}
