package io.pageflux.qemu.multifd;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.nio.ByteBuffer;
import java.util.UUID;

/**
 * What each channel begins with: 64 bytes.
 *
 * @param uuid the source machine's; all zeros if it was given none. A destination refuses another
 *     than its own.
 * @param channel the channel's number, 0 to 255; channels may connect in any order
 */
public record MultifdInit(UUID uuid, int channel) {

  /** The UUID of a machine that was given none. */
  public static final UUID NO_UUID = new UUID(0, 0);

  /** The length of the encoded form. */
  public static final int BYTES = MultifdFormat.INIT_BYTES;

  /**
   * Checks the number.
   *
   * @throws IllegalArgumentException if it does not fit a byte
   */
  public MultifdInit {
    if (channel < 0 || channel > 255) {
      throw new IllegalArgumentException("a channel's number is 0 to 255, but not " + channel);
    }
  }

  /** {@return the encoded form, ready to be read} */
  public ByteBuffer encode() {
    ByteBuffer out = ByteBuffer.allocate(BYTES);
    out.putInt(MultifdFormat.MAGIC).putInt(MultifdFormat.VERSION);
    out.putLong(uuid.getMostSignificantBits()).putLong(uuid.getLeastSignificantBits());
    out.put((byte) channel);
    return out.clear();
  }

  /**
   * Reads the encoded form. The bytes behind the channel's number have no meaning yet and are not
   * looked at.
   *
   * @param in at least {@link #BYTES} bytes, from its position on; it stays where it is
   * @throws MigrationException of kind {@code PROTOCOL}, if the peer does not speak multifd
   */
  public static MultifdInit decode(ByteBuffer in) {
    int at = in.position();
    int magic = in.getInt(at);
    if (magic != MultifdFormat.MAGIC) {
      throw fault(
          0,
          "a channel begins with 0x%08x, but this one with 0x%08x%s"
              .formatted(
                  MultifdFormat.MAGIC,
                  magic,
                  magic == 0x5145564d ? ", which is how the main channel begins" : ""));
    }
    int version = in.getInt(at + 4);
    if (version != MultifdFormat.VERSION) {
      throw fault(
          4,
          "version %d of multifd, but only version %d is known"
              .formatted(version & 0xFFFF_FFFFL, MultifdFormat.VERSION));
    }
    UUID uuid =
        new UUID(
            in.getLong(at + MultifdFormat.UUID_AT), in.getLong(at + MultifdFormat.UUID_AT + 8));
    return new MultifdInit(uuid, in.get(at + MultifdFormat.CHANNEL_AT) & 0xFF);
  }

  private static MigrationException fault(int at, String what) {
    return MigrationException.of(
        Kind.PROTOCOL, "a multifd channel, byte " + at + ", in its first packet: " + what);
  }
}
