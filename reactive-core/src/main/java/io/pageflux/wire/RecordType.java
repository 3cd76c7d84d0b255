package io.pageflux.wire;

import io.pageflux.memory.RamBlockLayout;
import org.jspecify.annotations.Nullable;

/** The types of records, with the number that stands for each and the lengths of their bodies. */
enum RecordType {
  HELLO(1, Sizes.HELLO, Sizes.HELLO + WireLimits.MAX_TEXT_BYTES),
  LAYOUT(2, Sizes.LAYOUT + Sizes.BLOCK + 1, Sizes.LARGEST_LAYOUT),
  READY(3, 0),
  ROUND_BEGIN(4, 16),
  /** Its largest body follows from the pool that the batches go into. */
  PAGES(5, Sizes.PAGES + Sizes.RUN, Integer.MAX_VALUE),
  ROUND_END(6, 32),
  ROUND_ACK(7, 16),
  PROGRESS(8, 16),
  DEVICE_STATE(9, 0, WireLimits.MAX_DEVICE_STATE_PIECE_BYTES),
  END(10, 16),
  PREPARED(11, 8),
  COMMIT(12, 0),
  RUNNING(13, 0),
  FAILURE(14, Sizes.FAILURE, Sizes.FAILURE + WireLimits.MAX_TEXT_BYTES),
  KEEP_ALIVE(15, 0),
  STREAM(16, 1, WireLimits.MAX_STREAM_PIECE_BYTES),
  STREAM_END(17, 0),
  OFFER(18, Sizes.OFFER + Sizes.OFFERED, Sizes.OFFER + WireLimits.MAX_BLOCKS * Sizes.OFFERED),
  RESUME_POINT(19, 24),
  PAGE_HASHES(20, Sizes.HASHES + Sizes.HASH, Sizes.HASHES + WireLimits.MAX_HASHES * Sizes.HASH),
  POSTCOPY_ADVISE(32, 8),
  POSTCOPY_LISTEN(33, 0),
  DISCARD(
      34,
      Sizes.DISCARD + Sizes.DISCARDED,
      Sizes.DISCARD + WireLimits.MAX_DISCARDED_RUNS * Sizes.DISCARDED),
  POSTCOPY_BEGIN(35, 24),
  PAGE_REQUEST(36, 16),
  POSTCOPY_END(37, 16),
  POSTCOPY_COMPLETE(38, 8),
  GUEST_RUNS(39, 24),
  POSTCOPY_RESUME(40, 8);

  /** Sizes of the parts of records in bytes. */
  static final class Sizes {
    /** A record's header. */
    static final int HEADER = 20;

    /** A HELLO without its text. */
    static final int HELLO = 42;

    /** A LAYOUT without its blocks. */
    static final int LAYOUT = 12;

    /** A block of a LAYOUT without its name. */
    static final int BLOCK = 13;

    /** The largest LAYOUT. */
    static final int LARGEST_LAYOUT =
        LAYOUT + WireLimits.MAX_BLOCKS * (BLOCK + RamBlockLayout.MAX_NAME_BYTES);

    /** A FAILURE without its text. */
    static final int FAILURE = 4;

    /** What comes first in PAGES, before the runs. */
    static final int PAGES = 20;

    /** A run of PAGES. */
    static final int RUN = 16;

    /** A delta's length in PAGES. */
    static final int DELTA_LENGTH = 4;

    /** An OFFER without its blocks. */
    static final int OFFER = 24;

    /** A block of an OFFER. */
    static final int OFFERED = 24;

    /** PAGE_HASHES without the hashes. */
    static final int HASHES = 16;

    /** A hash of a page. */
    static final int HASH = 16;

    /** A DISCARD without its runs. */
    static final int DISCARD = 8;

    /** A run of a DISCARD. */
    static final int DISCARDED = 16;

    private Sizes() {}
  }

  private static final @Nullable RecordType[] BY_CODE = new @Nullable RecordType[256];

  static {
    for (RecordType type : values()) {
      BY_CODE[type.code] = type;
    }
  }

  private final int code;
  private final int minBodyBytes;
  private final int maxBodyBytes;

  RecordType(int code, int bodyBytes) {
    this(code, bodyBytes, bodyBytes);
  }

  RecordType(int code, int minBodyBytes, int maxBodyBytes) {
    this.code = code;
    this.minBodyBytes = minBodyBytes;
    this.maxBodyBytes = maxBodyBytes;
  }

  /** The number that stands for this type. */
  int code() {
    return code;
  }

  /** The shortest body in bytes. */
  int minBodyBytes() {
    return minBodyBytes;
  }

  /** The longest body in bytes. */
  int maxBodyBytes() {
    return maxBodyBytes;
  }

  /** The type with a number from 0 to 255, or null if this version does not know it. */
  static @Nullable RecordType ofCode(int code) {
    return BY_CODE[code];
  }

  /** The type of a record. */
  static RecordType of(WireRecord record) {
    return switch (record) {
      case WireRecord.Hello _ -> HELLO;
      case WireRecord.Layout _ -> LAYOUT;
      case WireRecord.Ready _ -> READY;
      case WireRecord.RoundBegin _ -> ROUND_BEGIN;
      case WireRecord.Pages _ -> PAGES;
      case WireRecord.RoundEnd _ -> ROUND_END;
      case WireRecord.RoundAck _ -> ROUND_ACK;
      case WireRecord.Progress _ -> PROGRESS;
      case WireRecord.DeviceState _ -> DEVICE_STATE;
      case WireRecord.End _ -> END;
      case WireRecord.Prepared _ -> PREPARED;
      case WireRecord.Commit _ -> COMMIT;
      case WireRecord.Running _ -> RUNNING;
      case WireRecord.Failure _ -> FAILURE;
      case WireRecord.KeepAlive _ -> KEEP_ALIVE;
      case WireRecord.Stream _ -> STREAM;
      case WireRecord.StreamEnd _ -> STREAM_END;
      case WireRecord.Offer _ -> OFFER;
      case WireRecord.ResumePoint _ -> RESUME_POINT;
      case WireRecord.PageHashes _ -> PAGE_HASHES;
      case WireRecord.PostcopyAdvise _ -> POSTCOPY_ADVISE;
      case WireRecord.PostcopyListen _ -> POSTCOPY_LISTEN;
      case WireRecord.Discard _ -> DISCARD;
      case WireRecord.PostcopyBegin _ -> POSTCOPY_BEGIN;
      case WireRecord.PageRequest _ -> PAGE_REQUEST;
      case WireRecord.PostcopyEnd _ -> POSTCOPY_END;
      case WireRecord.PostcopyComplete _ -> POSTCOPY_COMPLETE;
      case WireRecord.GuestRuns _ -> GUEST_RUNS;
      case WireRecord.PostcopyResume _ -> POSTCOPY_RESUME;
    };
  }
}
