package io.pageflux.qemu.multifd;

/** The numbers of the format, as QEMU has had them since multifd was no longer experimental. */
final class MultifdFormat {

  static final int MAGIC = 0x11223344;
  static final int VERSION = 1;

  static final int INIT_BYTES = 64;
  static final int UUID_AT = 8;
  static final int UUID_BYTES = 16;
  static final int CHANNEL_AT = 24;

  static final int FLAGS_AT = 8;
  static final int ALLOCATED_AT = 12;
  static final int NORMAL_AT = 16;
  static final int PAYLOAD_AT = 20;
  static final int NUMBER_AT = 24;
  static final int ZERO_AT = 32;
  static final int BLOCK_AT = 64;
  static final int BLOCK_BYTES = 256;
  static final int OFFSETS_AT = 320;

  static final int FLAG_SYNC = 1;
  static final int METHOD_MASK = 0x3e;
  static final int FLAG_DEVICE_STATE = 0x40;

  /** The bytes of guest memory in the largest packet. */
  static final int PACKET_MEMORY_BYTES = 512 << 10;

  /** The largest payload that QEMU has room for: what it provides for pages that grow. */
  static final int MAX_PAYLOAD_BYTES = 2 * PACKET_MEMORY_BYTES;

  private MultifdFormat() {}

  /** The most pages of a packet. */
  static int maxPages(int pageSizeBytes) {
    return PACKET_MEMORY_BYTES / pageSizeBytes;
  }

  /** The bytes of a packet before its payload. */
  static int headerBytes(int pageSizeBytes) {
    return OFFSETS_AT + Long.BYTES * maxPages(pageSizeBytes);
  }

  /**
   * {@return the page size}
   *
   * @throws IllegalArgumentException if no target of QEMU has it
   */
  static int requirePageSize(int pageSizeBytes) {
    if (Integer.bitCount(pageSizeBytes) != 1 || pageSizeBytes < 1024 || pageSizeBytes > 64 << 10) {
      throw new IllegalArgumentException(
          "a target's page size is a power of two from 1 KiB to 64 KiB, but not "
              + pageSizeBytes
              + " bytes");
    }
    return pageSizeBytes;
  }

  static int requireChannels(int channels) {
    if (channels < 1 || channels > 255) {
      throw new IllegalArgumentException("multifd has 1 to 255 channels, but not " + channels);
    }
    return channels;
  }
}
