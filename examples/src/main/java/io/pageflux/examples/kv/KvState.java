package io.pageflux.examples.kv;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * What there is to a paused store besides its memory: its device state.
 *
 * <p>As bytes, big-endian: the letters {@code PFKV}, the format's version (int), records (long),
 * threads (int), then per thread the state of its random numbers and the count of its updates (two
 * longs), then the digest of each region (1,024 longs).
 *
 * @param recordCount records in the store
 * @param threads where each thread was
 * @param digests for each region, the sum of its records' digests
 */
record KvState(long recordCount, List<ThreadState> threads, long[] digests) {

  /**
   * Where one thread was.
   *
   * @param random the state of its random numbers
   * @param updates the updates that it has made
   */
  record ThreadState(long random, long updates) {}

  private static final int MAGIC = 0x50464B56;
  private static final int FORMAT = 1;
  private static final int HEADER_BYTES = 20;

  /** No state has more bytes. */
  static final int MAX_BYTES =
      HEADER_BYTES + KvLoad.MAX_THREADS * 2 * Long.BYTES + KvLayout.REGIONS * Long.BYTES;

  byte[] toBytes() {
    ByteBuffer bytes =
        ByteBuffer.allocate(HEADER_BYTES + (threads.size() * 2 + digests.length) * Long.BYTES);
    bytes.putInt(MAGIC).putInt(FORMAT).putLong(recordCount).putInt(threads.size());
    threads.forEach(thread -> bytes.putLong(thread.random()).putLong(thread.updates()));
    for (long digest : digests) {
      bytes.putLong(digest);
    }
    return bytes.array();
  }

  /**
   * Reads a state.
   *
   * @param recordCount the records that the store has room for
   * @throws IllegalArgumentException if it is none, or one of another store
   */
  static KvState ofBytes(byte[] state, long recordCount) {
    ByteBuffer bytes = ByteBuffer.wrap(state);
    try {
      if (bytes.getInt() != MAGIC || bytes.getInt() != FORMAT) {
        throw new IllegalArgumentException("the device state is not that of a key-value store");
      }
      long records = bytes.getLong();
      if (records != recordCount) {
        throw new IllegalArgumentException(
            "the device state is that of a store of %d records, but this one has %d"
                .formatted(records, recordCount));
      }
      int count = bytes.getInt();
      if (count < 1 || count > KvLoad.MAX_THREADS) {
        throw new IllegalArgumentException("the device state is of " + count + " threads");
      }
      List<ThreadState> threads = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        threads.add(new ThreadState(bytes.getLong(), bytes.getLong()));
      }
      long[] digests = new long[KvLayout.REGIONS];
      for (int i = 0; i < digests.length; i++) {
        digests[i] = bytes.getLong();
      }
      if (bytes.hasRemaining()) {
        throw new IllegalArgumentException(
            "the device state has %d bytes too many".formatted(bytes.remaining()));
      }
      return new KvState(records, List.copyOf(threads), digests);
    } catch (BufferUnderflowException e) {
      throw new IllegalArgumentException(
          "the device state ends after %d bytes, in the middle".formatted(state.length), e);
    }
  }
}
