package io.pageflux.examples.kv;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32C;

/**
 * The bytes of a record: 512, little-endian, all of which follow from its key, its version and the
 * version of its last rewrite.
 *
 * <pre>
 *   0  key            the record's number
 *   8  version        counts the record's updates, from 1
 *  16  length         bytes of value
 *  20  checksum       CRC-32C of all other bytes of the record
 *  24  rewritten      the version at which the value was last written as a whole
 *  32  fields         16 bytes that are new with each version
 *  48  value          464 bytes: 96 random, 256 of text, 112 zero; zstd makes them about a third
 * </pre>
 *
 * <p>A small update changes the version, the checksum and the fields, about 22 bytes of a page; a
 * rewrite changes the value too.
 */
final class KvRecord {

  static final int BYTES = 512;

  private static final int KEY = 0;
  private static final int VERSION = 8;
  private static final int LENGTH = 16;
  private static final int CHECKSUM = 20;
  private static final int REWRITTEN = 24;
  private static final int FIELDS = 32;
  private static final int VALUE = 48;
  private static final int VALUE_BYTES = BYTES - VALUE;
  private static final int RANDOM_LONGS = 12;
  private static final int TEXT_LONGS = 32;

  static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  // 256 words of eight letters: what a value's text is made of.
  private static final long[] WORDS = words();

  private KvRecord() {}

  private static long[] words() {
    byte[] consonants = "bdfgklmnprstvwyz".getBytes(StandardCharsets.US_ASCII);
    byte[] vowels = "aeio".getBytes(StandardCharsets.US_ASCII);
    Mix random = new Mix(0);
    long[] words = new long[256];
    for (int w = 0; w < words.length; w++) {
      for (int i = 0; i < 8; i++) {
        byte[] letters = i % 2 == 0 ? consonants : vowels;
        long letter = i == 7 ? ' ' : letters[(int) random.below(letters.length)];
        words[w] |= letter << 8 * i;
      }
    }
    return words;
  }

  static long key(MemorySegment memory, long at) {
    return memory.get(LONG, at + KEY);
  }

  static long version(MemorySegment memory, long at) {
    return memory.get(LONG, at + VERSION);
  }

  static long rewritten(MemorySegment memory, long at) {
    return memory.get(LONG, at + REWRITTEN);
  }

  static int checksum(MemorySegment memory, long at) {
    return memory.get(INT, at + CHECKSUM);
  }

  /** {@return the checksum that the record should have} */
  static int computeChecksum(MemorySegment memory, long at) {
    ByteBuffer bytes = memory.asSlice(at, BYTES).asByteBuffer();
    CRC32C crc = new CRC32C();
    crc.update(bytes.limit(CHECKSUM));
    crc.update(bytes.limit(BYTES).position(CHECKSUM + Integer.BYTES));
    return (int) crc.getValue();
  }

  /** Writes a whole record as it is after a rewrite. */
  static void write(MemorySegment memory, long at, long key, long version) {
    write(memory, at, key, version, version);
  }

  /** Writes a whole record with given versions. */
  static void write(MemorySegment memory, long at, long key, long version, long rewritten) {
    memory.set(LONG, at + KEY, key);
    memory.set(INT, at + LENGTH, VALUE_BYTES);
    memory.set(LONG, at + REWRITTEN, rewritten);
    writeValue(memory, at + VALUE, new Mix(Mix.mix(key) ^ rewritten));
    writeVersion(memory, at, key, version);
  }

  /** Writes what a small update changes. */
  static void writeVersion(MemorySegment memory, long at, long key, long version) {
    memory.set(LONG, at + VERSION, version);
    Mix fields = new Mix(Mix.mix(~key) ^ version);
    memory.set(LONG, at + FIELDS, fields.next());
    memory.set(LONG, at + FIELDS + 8, fields.next());
    memory.set(INT, at + CHECKSUM, computeChecksum(memory, at));
  }

  private static void writeValue(MemorySegment memory, long at, Mix random) {
    long position = at;
    for (int i = 0; i < RANDOM_LONGS; i++, position += 8) {
      memory.set(LONG, position, random.next());
    }
    for (int i = 0; i < TEXT_LONGS / 8; i++) {
      long picks = random.next();
      for (int j = 0; j < 8; j++, position += 8) {
        memory.set(LONG, position, WORDS[(int) (picks >>> 8 * j) & 0xFF]);
      }
    }
    for (; position < at + VALUE_BYTES; position += 8) {
      memory.set(LONG, position, 0);
    }
  }

  /**
   * {@return what a record adds to the digest of its region} It depends on every byte of it, so the
   * sum over a region tells an outdated record, which is sound in itself, from a recent one.
   */
  static long digest(long key, long version, int checksum) {
    return Mix.mix(Mix.mix(key) + Mix.mix(version * 31 + checksum));
  }

  static long digest(MemorySegment memory, long at) {
    return digest(key(memory, at), version(memory, at), checksum(memory, at));
  }
}
