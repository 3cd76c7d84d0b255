package io.pageflux.migration;

import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/** Streams of records as bytes, without the library's reader: see WIRE-FORMAT.md. */
public final class WireBytes {

  public static final int PREAMBLE = 8;
  public static final int HEADER = 20;

  public static final int HELLO = 1;
  public static final int LAYOUT = 2;
  public static final int READY = 3;
  public static final int ROUND_BEGIN = 4;
  public static final int PAGES = 5;
  public static final int ROUND_END = 6;
  public static final int ROUND_ACK = 7;
  public static final int DEVICE_STATE = 9;
  public static final int END = 10;
  public static final int PREPARED = 11;
  public static final int COMMIT = 12;
  public static final int RUNNING = 13;
  public static final int FAILURE = 14;
  public static final int KEEP_ALIVE = 15;

  private WireBytes() {}

  /** A record's place in a stream. The first one includes the preamble. */
  public record Span(int type, int from, int to) {}

  /** The complete records of a stream. */
  public static List<Span> records(byte[] stream) {
    List<Span> spans = new ArrayList<>();
    ByteBuffer in = ByteBuffer.wrap(stream);
    int from = 0;
    int at = PREAMBLE;
    while (at + HEADER <= stream.length) {
      int end = at + HEADER + in.getInt(at + 4);
      if (end > stream.length) {
        break;
      }
      spans.add(new Span(stream[at], from, end));
      from = end;
      at = end;
    }
    return spans;
  }

  /** Some records as a stream. */
  static byte[] of(WireRecord... records) {
    WireWriter writer = new WireWriter();
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (WireRecord record : records) {
      out.writeBytes(bytes(writer.write(record)));
    }
    return out.toByteArray();
  }

  static byte[] bytes(TransportBuffer buffer) {
    byte[] copy = new byte[buffer.bytes().remaining()];
    buffer.bytes().get(copy);
    buffer.release();
    return copy;
  }

  /**
   * A record that says whatever is wanted, with right checksums.
   *
   * @param declaredBytes the length that the header tells
   */
  static byte[] sealed(int type, int flags, int sequence, int declaredBytes, byte... body) {
    ByteBuffer record = ByteBuffer.allocate(HEADER + body.length);
    record.put((byte) type).put((byte) flags).putShort((short) 0);
    record.putInt(declaredBytes).putInt(sequence);
    CRC32C header = new CRC32C();
    header.update(record.array(), 0, 12);
    record.putInt((int) header.getValue());
    header.update(body);
    record.putInt((int) header.getValue());
    return record.put(body).array();
  }

  /** The bytes with one bit changed. */
  public static byte[] flipped(byte[] bytes, int index) {
    byte[] damaged = bytes.clone();
    damaged[index] ^= (byte) (1 << index % 8);
    return damaged;
  }
}
