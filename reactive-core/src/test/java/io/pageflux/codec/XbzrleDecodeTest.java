package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.lang.foreign.MemorySegment;
import java.util.HexFormat;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class XbzrleDecodeTest {

  private static final int PAGE = 512;

  @ParameterizedTest
  @EnumSource
  void whatWasEncodedComesBack(Mutation mutation) {
    for (int seed = 0; seed < 4_000; seed++) {
      Random random = new Random(seed);
      int length = seed % 2 == 0 ? PAGE : 4096;
      MemorySegment was = Bytes.zeros(length);
      Bytes.randomize(was, random);
      MemorySegment is = Bytes.copyOf(was);
      mutation.apply(is, random);
      MemorySegment encoded = Bytes.zeros(2L * length);
      int bytes = Xbzrle.encode(was, 0, is, 0, length, encoded, 0, 2 * length);
      assertThat(bytes).as("%s, seed %d", mutation, seed).isNotNegative();
      Xbzrle.decode(encoded, 0, bytes, was, 0, length);
      assertThat(was.mismatch(is)).as("%s, seed %d", mutation, seed).isEqualTo(-1);
    }
  }

  @Test
  void aNumberMayBeLongerThanItNeedsToBe() {
    MemorySegment page = Bytes.zeros(PAGE);
    decode("8500810009", page);
    assertThat(Bytes.get(page, 5)).isEqualTo((byte) 9);
  }

  private static void decode(String hex, MemorySegment page) {
    byte[] bytes = HexFormat.of().parseHex(hex);
    Xbzrle.decode(Bytes.of(bytes), 0, bytes.length, page, 0, (int) page.byteSize());
  }

  @ParameterizedTest
  @CsvSource(
      textBlock =
          """
          00,             the length of a run is cut off,                        0
          0501,           the length of a run is cut off,                         1
          0a,             the length of a run is cut off,                        0
          050209,         'of 2 changed bytes, of which only 1',                 1
          05010900,       the length of a run is cut off,                        3
          0501090a,       the length of a run is cut off,                        3
          0501090a01,     the length of a run is cut off,                         4
          0501090001aa,   an empty run of equal bytes that is not the first,     3
          050109800001aa, an empty run of equal bytes that is not the first,     3
          050000,         an empty run of changed bytes,                         1
          058000,         an empty run of changed bytes,                         1
          808001aa,       more than 14 bits,                                     0
          058080aa,       more than 14 bits,                                     1
          8104aa,         a run of 513 equal bytes from byte 0 of a page of 512, 0
          800401aa,       a run of 1 changed bytes from byte 512 of a page,      2
          ff0302aaaa,     a run of 2 changed bytes from byte 511 of a page,      2
          """)
  void aBrokenEncodingSaysWhatIsWrongAndWhereAndLeavesThePage(String hex, String what, int at) {
    MemorySegment page = Bytes.zeros(PAGE);
    assertThatThrownBy(() -> decode(hex, page))
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.INTEGRITY))
        .hasMessageContaining(what)
        .hasMessageEndingWith("at byte " + at + " of the encoded page");
    assertThat(ZeroTest.isZero(page, 0, PAGE)).isTrue();
  }

  @Test
  void aPageTooLargeToEncodeHasNoEncoding() {
    MemorySegment page = Bytes.zeros(16 << 10);
    assertThatThrownBy(() -> decode("000109", page))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("16384");
    assertThat(Bytes.get(page, 0)).isZero();
  }

  @Test
  void nothingIsNoChange() {
    MemorySegment page = Bytes.zeros(PAGE);
    decode("", page);
    assertThat(ZeroTest.isZero(page, 0, PAGE)).isTrue();
  }

  @ParameterizedTest
  @EnumSource
  void everyTruncationAndEveryFlippedByteIsRefusedOrStaysInBounds(Mutation mutation) {
    for (int seed = 0; seed < 12; seed++) {
      Random random = new Random(seed);
      MemorySegment was = Bytes.zeros(PAGE);
      Bytes.randomize(was, random);
      MemorySegment is = Bytes.copyOf(was);
      mutation.apply(is, random);
      MemorySegment out = Bytes.zeros(2 * PAGE);
      int length = Xbzrle.encode(was, 0, is, 0, PAGE, out, 0, 2 * PAGE);
      byte[] encoded = Bytes.array(out.asSlice(0, length));
      for (int cut = 0; cut < length; cut++) {
        byte[] truncated = java.util.Arrays.copyOf(encoded, cut);
        decodeHostile(truncated, "%s, seed %d, cut at %d".formatted(mutation, seed, cut));
      }
      for (int at = 0; at < length; at++) {
        for (int flip : new int[] {1, 0x80, 0xff, 1 + random.nextInt(255)}) {
          byte[] flipped = encoded.clone();
          flipped[at] ^= (byte) flip;
          decodeHostile(flipped, "%s, seed %d, byte %d ^ %d".formatted(mutation, seed, at, flip));
        }
      }
    }
  }

  @Test
  void garbageIsRefusedOrStaysInBounds() {
    int accepted = 0;
    for (int seed = 0; seed < 30_000; seed++) {
      Random random = new Random(seed);
      byte[] garbage = new byte[random.nextInt(60)];
      for (int i = 0; i < garbage.length; i++) {
        // Small numbers, so that some of it gets far, or is even in order.
        garbage[i] = (byte) (random.nextInt(3) == 0 ? random.nextInt(256) : random.nextInt(6));
      }
      if (decodeHostile(garbage, "seed " + seed)) {
        accepted++;
      }
    }
    assertThat(accepted).isBetween(600, 29_000);
  }

  /** The page lies between guards, and must be as it was if the decoder throws. */
  private static boolean decodeHostile(byte[] encoded, String what) {
    MemorySegment memory = Bytes.zeros(3 * PAGE);
    memory.fill((byte) 0x33);
    boolean accepted = true;
    try {
      Xbzrle.decode(Bytes.of(encoded), 0, encoded.length, memory, PAGE, PAGE);
    } catch (MigrationException e) {
      assertThat(e.kind()).as(what).isEqualTo(MigrationException.Kind.INTEGRITY);
      accepted = false;
    }
    MemorySegment expected = Bytes.zeros(3 * PAGE);
    expected.fill((byte) 0x33);
    if (accepted) {
      MemorySegment.copy(memory, PAGE, expected, PAGE, PAGE);
    }
    assertThat(memory.mismatch(expected)).as(what).isEqualTo(-1);
    return accepted;
  }
}
