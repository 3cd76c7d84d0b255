package io.pageflux.codec;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import io.pageflux.MigrationException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * XBZRLE, QEMU's encoding of how a page differs from an older version of it.
 *
 * <p>An encoded page is a sequence of pairs of runs: how many bytes stay as they are, then how many
 * change and, literally, their new values. A run of equal bytes at the end is left out, so an empty
 * encoding means that nothing changes. Runs are as long as can be: one equal byte ends a run of
 * changes. Lengths are ULEB128 numbers of one or two bytes, at most {@value #MAX_RUN_BYTES}; only
 * the very first run of equal bytes may be empty.
 *
 * <p>The bytes are those that QEMU's portable encoder makes, up to and including the point at which
 * it gives up. (Its AVX-512 encoder differs at that point: it accepts a few pages more.)
 *
 * <p>Since a run has at most {@value #MAX_RUN_BYTES} bytes, the encoding is defined for pages of up
 * to {@value #MAX_PAGE_BYTES} bytes only, and larger ones are refused by both directions.
 *
 * <p>Source of the format: QEMU, {@code docs/xbzrle.txt} and {@code migration/xbzrle.c}.
 */
public final class Xbzrle {

  /** What {@link #encode} returns if the encoded page does not fit. */
  public static final int OVERFLOW = -1;

  /** The longest run whose length can be written, in bytes. */
  public static final int MAX_RUN_BYTES = 0x3fff;

  /** The largest page that can be encoded, in bytes. */
  public static final int MAX_PAGE_BYTES = MAX_RUN_BYTES;

  // Little-endian, so that the lowest bits are the first byte, whatever the machine.
  private static final ValueLayout.OfLong LONG =
      JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private static final long ONES = 0x0101010101010101L;
  private static final long TOPS = 0x8080808080808080L;

  private Xbzrle() {}

  /**
   * Encodes how a page differs from what it was.
   *
   * <p>Neither version may change meanwhile: encode a copy, never the memory of a running guest.
   *
   * <p>Bytes of {@code out} between the encoded page and the capacity may be overwritten.
   *
   * @param oldPage holds the old version, which the receiver has
   * @param oldOffset where it begins
   * @param newPage holds the new version
   * @param newOffset where it begins
   * @param length the size of the page in bytes, at most {@link #MAX_PAGE_BYTES}
   * @param out takes the encoded page
   * @param outOffset where that is to begin
   * @param outCapacity how many bytes it may have; the size of the page in QEMU
   * @return the bytes written; 0 if both versions are the same; {@link #OVERFLOW} if there was no
   *     room
   * @throws IllegalArgumentException if the page is too large
   */
  public static int encode(
      MemorySegment oldPage,
      long oldOffset,
      MemorySegment newPage,
      long newOffset,
      int length,
      MemorySegment out,
      long outOffset,
      int outCapacity) {
    if (length > MAX_PAGE_BYTES) {
      throw new IllegalArgumentException(
          "XBZRLE encodes pages of up to "
              + MAX_PAGE_BYTES
              + " bytes, and this one has "
              + length
              + ": send it raw");
    }
    MemorySegment was = oldPage.asSlice(oldOffset, length);
    MemorySegment is = newPage.asSlice(newOffset, length);
    MemorySegment to = out.asSlice(outOffset, outCapacity);
    int at = 0;
    int written = 0;
    while (at < length) {
      // Room for the two shortest numbers is asked for before it is known that any will follow:
      // this is where QEMU gives up, and so the point where we do.
      if (written + 2 > outCapacity) {
        return OVERFLOW;
      }
      int from = at;
      at = endOfEqual(was, is, from, length);
      if (at == length) {
        return written;
      }
      written = writeLength(to, written, at - from);
      if (written + 2 > outCapacity) {
        return OVERFLOW;
      }
      from = at;
      at = endOfChanged(was, is, from, length);
      int run = at - from;
      written = writeLength(to, written, run);
      if (written + run > outCapacity) {
        return OVERFLOW;
      }
      copy(is, from, length, to, written, outCapacity, run);
      written += run;
    }
    return written;
  }

  private static int endOfEqual(MemorySegment was, MemorySegment is, int from, int length) {
    int at = from;
    for (; at <= length - 8; at += 8) {
      long changes = was.get(LONG, at) ^ is.get(LONG, at);
      if (changes != 0) {
        return at + (Long.numberOfTrailingZeros(changes) >>> 3);
      }
    }
    while (at < length && was.get(JAVA_BYTE, at) == is.get(JAVA_BYTE, at)) {
      at++;
    }
    return at;
  }

  private static int endOfChanged(MemorySegment was, MemorySegment is, int from, int length) {
    int at = from;
    for (; at <= length - 8; at += 8) {
      long changes = was.get(LONG, at) ^ is.get(LONG, at);
      // The lowest set bit is the top bit of the first byte that is zero; those above it may lie.
      long zeros = changes - ONES & ~changes & TOPS;
      if (zeros != 0) {
        return at + (Long.numberOfTrailingZeros(zeros) >>> 3);
      }
    }
    while (at < length && was.get(JAVA_BYTE, at) != is.get(JAVA_BYTE, at)) {
      at++;
    }
    return at;
  }

  private static int writeLength(MemorySegment to, int at, int length) {
    if (length < 0x80) {
      to.set(JAVA_BYTE, at, (byte) length);
      return at + 1;
    }
    to.set(JAVA_BYTE, at, (byte) (length | 0x80));
    to.set(JAVA_BYTE, at + 1, (byte) (length >>> 7));
    return at + 2;
  }

  private static void copy(
      MemorySegment from, int at, int length, MemorySegment to, int toAt, int capacity, int run) {
    if (run <= 8 && at <= length - 8 && toAt <= capacity - 8) {
      // Nearly all runs are this short: one word costs less than a loop, and what it has too much
      // is overwritten by what follows or lies behind the end.
      to.set(LONG, toAt, from.get(LONG, at));
    } else {
      MemorySegment.copy(from, at, to, toAt, run);
    }
  }

  /**
   * Changes a page from its old version to the encoded new one, wholly or not at all: nothing is
   * written unless all of the encoding is in order.
   *
   * @param encoded holds the encoded page, and is no part of the page itself
   * @param offset where it begins
   * @param encodedLength how many bytes it has; if 0, nothing changes
   * @param page holds the old version
   * @param pageOffset where it begins
   * @param pageLength the size of the page in bytes
   * @throws MigrationException of kind {@code INTEGRITY}, if the encoding is no encoding of such a
   *     page; the page is as it was
   */
  public static void decode(
      MemorySegment encoded,
      long offset,
      int encodedLength,
      MemorySegment page,
      long pageOffset,
      int pageLength) {
    check(encoded, offset, encodedLength, pageLength);
    apply(encoded, offset, encodedLength, page, pageOffset, pageLength);
  }

  /** Walks over an encoded page without a page, and throws if it is not in order. */
  static void check(MemorySegment encoded, long offset, int encodedLength, int pageLength) {
    if (pageLength > MAX_PAGE_BYTES) {
      throw broken(0, "pages of " + pageLength + " bytes have no XBZRLE encoding");
    }
    MemorySegment in = encoded.asSlice(offset, encodedLength);
    int at = 0;
    int page = 0;
    while (at < encodedLength) {
      int begin = at;
      int equal = readLength(in, at, encodedLength);
      at += equal >>> 16;
      equal &= 0xffff;
      if (equal == 0 && begin > 0) {
        throw broken(begin, "an empty run of equal bytes that is not the first");
      }
      if (equal > pageLength - page) {
        throw broken(begin, run(equal, "equal", page, pageLength));
      }
      page += equal;
      begin = at;
      int changed = readLength(in, at, encodedLength);
      at += changed >>> 16;
      changed &= 0xffff;
      if (changed == 0) {
        throw broken(begin, "an empty run of changed bytes");
      }
      if (changed > pageLength - page) {
        throw broken(begin, run(changed, "changed", page, pageLength));
      }
      if (changed > encodedLength - at) {
        throw broken(
            begin,
            "a run of %d changed bytes, of which only %d are there"
                .formatted(changed, encodedLength - at));
      }
      page += changed;
      at += changed;
    }
  }

  private static String run(int length, String what, int page, int pageLength) {
    return "a run of %d %s bytes from byte %d of a page of %d"
        .formatted(length, what, page, pageLength);
  }

  /** Returns the number in the lower 16 bits, and how many bytes it took in the upper ones. */
  private static int readLength(MemorySegment in, int at, int end) {
    // As in QEMU, two bytes must be left even for a number of one: no pair of runs ends sooner.
    if (at > end - 2) {
      throw broken(at, "the length of a run is cut off");
    }
    int low = in.get(JAVA_BYTE, at);
    if (low >= 0) {
      return low | 1 << 16;
    }
    int high = in.get(JAVA_BYTE, at + 1);
    if (high < 0) {
      throw broken(at, "the length of a run has more than 14 bits");
    }
    return low & 0x7f | high << 7 | 2 << 16;
  }

  private static MigrationException broken(int at, String what) {
    return MigrationException.of(
        MigrationException.Kind.INTEGRITY,
        "XBZRLE page: %s, at byte %d of the encoded page".formatted(what, at));
  }

  /** Changes a page as an encoding says that {@link #check} found to be in order. */
  static void apply(
      MemorySegment encoded,
      long offset,
      int encodedLength,
      MemorySegment page,
      long pageOffset,
      int pageLength) {
    MemorySegment in = encoded.asSlice(offset, encodedLength);
    MemorySegment to = page.asSlice(pageOffset, pageLength);
    int at = 0;
    int done = 0;
    while (at < encodedLength) {
      int equal = readLength(in, at, encodedLength);
      at += equal >>> 16;
      done += equal & 0xffff;
      int changed = readLength(in, at, encodedLength);
      at += changed >>> 16;
      changed &= 0xffff;
      if (changed < 16) {
        for (int i = 0; i < changed; i++) {
          to.set(JAVA_BYTE, done + i, in.get(JAVA_BYTE, at + i));
        }
      } else {
        MemorySegment.copy(in, at, to, done, changed);
      }
      done += changed;
      at += changed;
    }
  }
}
