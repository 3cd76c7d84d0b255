package io.pageflux.wire;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** The preamble, and the header of every record; both are the same in all versions. */
final class WireFormat {

  private static final byte[] PREAMBLE = "PAGEFLUX".getBytes(StandardCharsets.US_ASCII);

  /** The bytes of the preamble. */
  static final int PREAMBLE_BYTES = PREAMBLE.length;

  /** Says that a reader which does not know the record's type may go on without it. */
  static final int FLAG_OPTIONAL = 1;

  /** The part of the header that both checks cover, in bytes. */
  static final int CHECKED_HEADER_BYTES = 12;

  /** Where in the header the checksum of its first {@link #CHECKED_HEADER_BYTES} bytes is. */
  static final int HEADER_CHECK_AT = 12;

  /** Where in the header the checksum of those bytes and the body is. */
  static final int BODY_CHECK_AT = 16;

  private WireFormat() {}

  /** A byte of the preamble. */
  static byte preamble(int i) {
    return PREAMBLE[i];
  }

  /** Writes the preamble. */
  static void putPreamble(ByteBuffer out) {
    out.put(PREAMBLE);
  }

  /**
   * Writes a record's header before its body.
   *
   * @param record big-endian; holds the body from {@code at + 20} to {@code at + 20 + bodyBytes}
   * @param at where the header is to be
   */
  static void putHeader(
      ByteBuffer record,
      int at,
      int type,
      int flags,
      int bodyBytes,
      int sequence,
      Checksum checksum) {
    record.put(at, (byte) type).put(at + 1, (byte) flags).putShort(at + 2, (short) 0);
    record.putInt(at + 4, bodyBytes).putInt(at + 8, sequence);
    checksum.reset();
    checksum.update(record, at, CHECKED_HEADER_BYTES);
    record.putInt(at + HEADER_CHECK_AT, checksum.value());
    // The header's own checksum is left out: a CRC over data and its CRC says nothing of the data.
    checksum.update(record, at + RecordType.Sizes.HEADER, bodyBytes);
    record.putInt(at + BODY_CHECK_AT, checksum.value());
  }
}
