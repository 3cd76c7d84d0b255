package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.MemorySegment;
import java.util.HexFormat;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class XbzrleEncodeTest {

  private static final int PAGE = 4096;

  private final MemorySegment was = Bytes.zeros(PAGE);
  private final MemorySegment is = Bytes.zeros(PAGE);
  private final MemorySegment out = Bytes.zeros(PAGE);

  private int encode() {
    return Xbzrle.encode(was, 0, is, 0, PAGE, out, 0, PAGE);
  }

  private String encoded() {
    int length = encode();
    assertThat(length).isNotNegative();
    return HexFormat.of().formatHex(Bytes.array(out.asSlice(0, length)));
  }

  @Test
  void theExampleOfQemusDocumentationHasItsBytes() {
    for (int i = 1; i <= 15; i++) {
      Bytes.set(is, 1000 + i, i);
    }
    Bytes.set(is, 1019, 0x67);
    Bytes.set(is, 1021, 0x69);
    assertThat(encoded()).isEqualTo("e9070f0102030405060708090a0b0c0d0e0f030167010169");
  }

  @Test
  void theLastByteOfAPageTakesFourBytes() {
    Bytes.set(is, PAGE - 1, 0x55);
    assertThat(encoded()).isEqualTo("ff1f0155");
  }

  @Test
  void theFirstByteOfAPageTakesThree() {
    Bytes.set(is, 0, 0x55);
    assertThat(encoded()).isEqualTo("000155");
  }

  @Test
  void identicalPagesEncodeToNothing() {
    Bytes.randomize(was, new Random(1));
    is.copyFrom(was);
    assertThat(encode()).isZero();
  }

  @Test
  void aPageThatChangedEverywhereOverflows() {
    is.fill((byte) 1);
    assertThat(encode()).isEqualTo(Xbzrle.OVERFLOW);
  }

  @Test
  void alternateChangesOverflow() {
    for (int i = 0; i < PAGE; i += 2) {
      Bytes.set(is, i, 1);
    }
    assertThat(encode()).isEqualTo(Xbzrle.OVERFLOW);
  }

  @Test
  void anEncodingMayBeAsLongAsThePage() {
    // 3 bytes of lengths in front of 4093 changed bytes: 4096, and only the equal tail is left,
    // for which room is asked all the same.
    is.asSlice(0, PAGE - 3).fill((byte) 1);
    assertThat(encode()).isEqualTo(Xbzrle.OVERFLOW);
    is.fill((byte) 0);
    is.asSlice(4, PAGE - 4).fill((byte) 1);
    assertThat(encode()).isEqualTo(PAGE - 1);
    is.fill((byte) 0);
    is.asSlice(3, PAGE - 3).fill((byte) 1);
    assertThat(encode()).isEqualTo(PAGE);
    is.asSlice(2, PAGE - 2).fill((byte) 1);
    assertThat(encode()).isEqualTo(Xbzrle.OVERFLOW);
  }

  @ParameterizedTest
  @EnumSource
  void theBytesAreThoseOfTheNaiveEncoder(Mutation mutation) {
    for (int seed = 0; seed < 4_000; seed++) {
      compareWithNaive(mutation, seed);
    }
  }

  private static void compareWithNaive(Mutation mutation, int seed) {
    Random random = new Random(seed);
    int length = seed % 3 == 0 ? 8 + random.nextInt(400) : seed % 300 == 1 ? 8192 : 512;
    int oldOffset = random.nextInt(9);
    int newOffset = random.nextInt(9);
    int outOffset = random.nextInt(9);
    MemorySegment was = Bytes.zeros(length + 16);
    MemorySegment is = Bytes.zeros(length + 16);
    if (random.nextBoolean()) {
      Bytes.randomize(was, random);
    }
    MemorySegment.copy(was, oldOffset, is, newOffset, length);
    mutation.apply(is.asSlice(newOffset, length), random);
    byte[] oldBytes = Bytes.array(was.asSlice(oldOffset, length));
    byte[] newBytes = Bytes.array(is.asSlice(newOffset, length));
    int needed =
        Objects.requireNonNull(NaiveXbzrle.encode(oldBytes, newBytes, Integer.MAX_VALUE)).length;

    // The page's size as in QEMU, and every capacity around the point at which it starts to fit.
    int[] rooms = {length, needed - 3, needed - 2, needed - 1, needed, needed + 1, needed + 2};
    for (int wanted : rooms) {
      int room = Math.max(0, wanted);
      byte[] expected = NaiveXbzrle.encode(oldBytes, newBytes, room);
      MemorySegment out = Bytes.zeros(outOffset + room + 16);
      out.fill((byte) 0x5a);
      int written = Xbzrle.encode(was, oldOffset, is, newOffset, length, out, outOffset, room);
      String where = mutation + ", seed " + seed + ", room for " + room;
      if (expected == null) {
        assertThat(written).as(where).isEqualTo(Xbzrle.OVERFLOW);
      } else {
        assertThat(written).as(where).isEqualTo(expected.length);
        assertThat(Bytes.array(out.asSlice(outOffset, written))).as(where).isEqualTo(expected);
      }
      for (int i = 0; i < outOffset; i++) {
        assertThat(Bytes.get(out, i)).as(where).isEqualTo((byte) 0x5a);
      }
      for (int i = outOffset + room; i < out.byteSize(); i++) {
        assertThat(Bytes.get(out, i)).as(where + ", beyond it").isEqualTo((byte) 0x5a);
      }
    }
  }

  @Test
  void runsUpToTheLongestThatCanBeWrittenAreWritten() {
    int length = Xbzrle.MAX_PAGE_BYTES;
    MemorySegment before = Bytes.zeros(length);
    MemorySegment after = Bytes.zeros(length);
    MemorySegment to = Bytes.zeros(length + 3L);
    Bytes.set(after, length - 1L, 7);
    assertThat(Xbzrle.encode(before, 0, after, 0, length, to, 0, length)).isEqualTo(4);
    after.fill((byte) 1);
    assertThat(Xbzrle.encode(before, 0, after, 0, length, to, 0, length + 3)).isEqualTo(length + 3);
    Xbzrle.decode(to, 0, length + 3, before, 0, length);
    assertThat(before.mismatch(after)).isEqualTo(-1);
  }

  @Test
  void largerPagesAreRefused() {
    MemorySegment page = Bytes.zeros(16 << 10);
    assertThatThrownBy(() -> Xbzrle.encode(page, 0, page, 0, 16 << 10, page, 0, 16 << 10))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("16384");
  }
}
