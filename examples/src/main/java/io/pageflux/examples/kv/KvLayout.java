package io.pageflux.examples.kv;

/**
 * Where the records of a store lie in its memory.
 *
 * <p>Of every 20 chunks of 64 KiB, 13 hold records and 7 are never written, spread evenly: 35 % of
 * the memory stays zero, as much of a real guest's does. A record never crosses a page. Records are
 * numbered from 0; the page of a record, counted over record pages only, is its number divided by
 * {@link #RECORDS_PER_PAGE}.
 */
final class KvLayout {

  static final int PAGE_BYTES = 4096;
  static final int RECORDS_PER_PAGE = PAGE_BYTES / KvRecord.BYTES;
  static final int CHUNK_BYTES = 64 << 10;
  static final int RECORDS_PER_CHUNK = CHUNK_BYTES / KvRecord.BYTES;

  /** How many parts of the store have a digest of their own. */
  static final int REGIONS = 1024;

  private static final int CYCLE = 20;
  private static final int USED_PER_CYCLE = 13;

  // The chunks of a cycle that hold records, in order. 7 and 20 have no common divisor.
  private static final int[] USED = new int[USED_PER_CYCLE];

  static {
    for (int chunk = 0, n = 0; chunk < CYCLE; chunk++) {
      if (isUsed(chunk)) {
        USED[n++] = chunk;
      }
    }
  }

  private final long sizeBytes;
  private final long recordCount;

  /**
   * @param sizeBytes the memory's size; what lies behind its last whole chunk is not used
   * @throws IllegalArgumentException if it is less than one chunk
   */
  KvLayout(long sizeBytes) {
    if (sizeBytes < CHUNK_BYTES) {
      throw new IllegalArgumentException(
          "a store needs %d bytes at least, but there are %d".formatted(CHUNK_BYTES, sizeBytes));
    }
    this.sizeBytes = sizeBytes;
    long chunks = sizeBytes / CHUNK_BYTES;
    long used = chunks / CYCLE * USED_PER_CYCLE;
    for (long chunk = chunks / CYCLE * CYCLE; chunk < chunks; chunk++) {
      used += isUsed(chunk) ? 1 : 0;
    }
    this.recordCount = used * RECORDS_PER_CHUNK;
  }

  /** {@return whether a chunk holds records} */
  static boolean isUsed(long chunk) {
    return chunk % CYCLE * 7 % CYCLE < USED_PER_CYCLE;
  }

  long sizeBytes() {
    return sizeBytes;
  }

  long chunkCount() {
    return sizeBytes / CHUNK_BYTES;
  }

  long recordCount() {
    return recordCount;
  }

  /** {@return the number of pages that hold records} */
  long recordPages() {
    return recordCount / RECORDS_PER_PAGE;
  }

  /** {@return the first byte of a record} */
  long offsetOf(long record) {
    long used = record / RECORDS_PER_CHUNK;
    long chunk = used / USED_PER_CYCLE * CYCLE + USED[(int) (used % USED_PER_CYCLE)];
    return chunk * CHUNK_BYTES + record % RECORDS_PER_CHUNK * KvRecord.BYTES;
  }

  /** {@return the part of the store whose digest covers a record} */
  int regionOf(long record) {
    return (int) (record * REGIONS / recordCount);
  }

  /** {@return the first record of a region; for {@link #REGIONS}, the number of records} */
  long firstOfRegion(int region) {
    return (region * recordCount + REGIONS - 1) / REGIONS;
  }
}
