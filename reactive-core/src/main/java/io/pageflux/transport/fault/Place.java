package io.pageflux.transport.fault;

import java.util.Objects;

/**
 * A place in what passes in one direction of a connection.
 *
 * @param unit what is counted
 * @param count how much of it comes before; for {@link Unit#RECORD_TYPE} the type
 */
public record Place(Unit unit, long count) {

  /** What a place is told by. */
  public enum Unit {
    /** Bytes. */
    BYTES,
    /** Buffers, as the sending side makes them; those of a receiving side come as they like. */
    BUFFERS,
    /** Records of Pageflux's wire format. */
    RECORDS,
    /** The first record of a type of Pageflux's wire format. */
    RECORD_TYPE
  }

  /** The beginning. */
  public static final Place START = afterBytes(0);

  /** Checks the count. */
  public Place {
    Objects.requireNonNull(unit, "unit");
    if (count < 0) {
      throw new IllegalArgumentException("a place after " + count + " " + unit);
    }
  }

  /** Where so many bytes have passed. */
  public static Place afterBytes(long bytes) {
    return new Place(Unit.BYTES, bytes);
  }

  /** Where so many buffers have passed. */
  public static Place afterBuffers(long buffers) {
    return new Place(Unit.BUFFERS, buffers);
  }

  /** Where so many records have passed. */
  public static Place afterRecords(long records) {
    return new Place(Unit.RECORDS, records);
  }

  /**
   * Where a record of a type is about to pass, for the first time. Unlike a number of bytes, it
   * comes in every migration, however much the guest writes.
   *
   * @param type the number that stands for the type on the wire; the first record of all is not
   *     looked at
   */
  public static Place beforeRecord(int type) {
    return new Place(Unit.RECORD_TYPE, type);
  }

  /** Whether it comes before everything. */
  boolean isStart() {
    return count == 0 && unit != Unit.RECORD_TYPE;
  }

  @Override
  public String toString() {
    return switch (unit) {
      case BYTES -> "after byte " + count;
      case BUFFERS -> "after buffer " + count;
      case RECORDS -> "after record " + count;
      case RECORD_TYPE -> "before a record of type " + count;
    };
  }
}
