package io.pageflux.transport.fault;

import java.nio.ByteBuffer;

/**
 * Finds a place in a stream as its buffers pass.
 *
 * <p>Of records it knows what WIRE-FORMAT.md says of their frame: a preamble of 8 bytes, and
 * headers of 20 bytes that begin with the type and have the body's length at 4. A stream of
 * something else has no records, or nonsensical ones; it is counted all the same and never fails.
 */
final class RecordScan {

  private static final int PREAMBLE = 8;
  private static final int HEADER = 20;
  private static final int LENGTH_AT = 4;

  private final Place place;
  private boolean found;
  private long bytes;
  private long buffers;
  private long records = -1; // the preamble's end is none
  private long untilRecord = PREAMBLE;
  private int headerRead = HEADER;
  private long bodyBytes;

  RecordScan(Place place) {
    this.place = place;
  }

  /**
   * Takes the next buffer. {@return after how many of its bytes the place comes; -1 if it does not,
   * or did before}
   */
  int find(ByteBuffer buffer) {
    int size = buffer.remaining();
    int index =
        switch (place.unit()) {
          case BYTES -> inside(place.count() - bytes, size);
          case BUFFERS -> ++buffers == place.count() ? size : -1;
          case RECORDS, RECORD_TYPE -> found ? -1 : walk(buffer);
        };
    bytes += size;
    if (found || index < 0) {
      return -1;
    }
    found = true;
    return index;
  }

  private static int inside(long index, int size) {
    return index >= 0 && index <= size ? (int) index : -1;
  }

  private int walk(ByteBuffer buffer) {
    int from = buffer.position();
    int at = from;
    while (at < buffer.limit()) {
      if (headerRead == HEADER) {
        long skipped = Math.min(untilRecord, buffer.limit() - at);
        at += (int) skipped;
        untilRecord -= skipped;
        if (untilRecord > 0) {
          return -1;
        }
        if (++records == place.count() && records > 0 && place.unit() == Place.Unit.RECORDS) {
          return at - from;
        }
        headerRead = 0;
        bodyBytes = 0;
      } else {
        byte next = buffer.get(at);
        if (headerRead == 0
            && records > 0
            && place.unit() == Place.Unit.RECORD_TYPE
            && (next & 0xff) == place.count()) {
          return at - from;
        }
        if (headerRead >= LENGTH_AT && headerRead < LENGTH_AT + 4) {
          bodyBytes = bodyBytes << 8 | next & 0xff;
        }
        headerRead++;
        at++;
        untilRecord = bodyBytes;
      }
    }
    // A record that ends with the buffer has passed, though the next one may never come.
    if (headerRead == HEADER
        && untilRecord == 0
        && place.unit() == Place.Unit.RECORDS
        && records + 1 == place.count()) {
      return at - from;
    }
    return -1;
  }
}
