package io.pageflux.qemu.stream;

import java.nio.ByteBuffer;

/**
 * Who speaks on a connection, as far as its first {@value #LENGTH} bytes say it.
 *
 * <p>It is a guess at what a well-behaved client is, and no check of the stream: that is what a
 * {@link QemuStreamReader} is for. A connection of post-copy's urgent pages begins with no mark,
 * and is {@link #FOREIGN}.
 *
 * <p>Source of the numbers: QEMU, {@code migration/savevm.c} and {@code migration/multifd.h}.
 */
public enum QemuFirstBytes {
  /** A migration begins. */
  MIGRATION,
  /** A post-copy goes on whose connection was lost: it begins with a command. */
  RESUMED_POSTCOPY,
  /** One of the further connections of a migration with the capability multifd. */
  MULTIFD_CHANNEL,
  /** No QEMU that migrates. */
  FOREIGN;

  /** How many bytes it takes to know. */
  public static final int LENGTH = 4;

  /**
   * {@return who says this}
   *
   * @param bytes the first ones of a connection, at least {@value #LENGTH}; they are not taken
   */
  public static QemuFirstBytes of(ByteBuffer bytes) {
    int word = bytes.duplicate().getInt();
    return switch (word) {
      case QemuFormat.MAGIC -> MIGRATION;
      case QemuFormat.MULTIFD_MAGIC -> MULTIFD_CHANNEL;
      default ->
          word >>> 24 == QemuFormat.COMMAND && QemuCommand.ofCode(word >>> 8 & 0xFFFF) != null
              ? RESUMED_POSTCOPY
              : FOREIGN;
    };
  }
}
