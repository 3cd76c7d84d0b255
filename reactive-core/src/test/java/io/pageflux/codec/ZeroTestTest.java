package io.pageflux.codec;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;

class ZeroTestTest {

  @Test
  void zerosOfAnyLengthAtAnyOffsetAreZeroWhateverIsAround() {
    MemorySegment memory = Bytes.zeros(600);
    memory.fill((byte) -1);
    for (int offset = 1; offset < 10; offset++) {
      for (int length = 0; length < 300; length++) {
        memory.asSlice(offset, length).fill((byte) 0);
        assertThat(ZeroTest.isZero(memory, offset, length)).as("%d+%d", offset, length).isTrue();
        assertThat(ZeroTest.isZero(memory, offset, length + 1))
            .as("%d+%d, with one byte too much", offset, length)
            .isFalse();
        memory.fill((byte) -1);
      }
    }
  }

  @Test
  void aSingleBitAnywhereIsFound() {
    for (int length : new int[] {1, 7, 8, 9, 63, 64, 65, 127, 200, 4096, 4099}) {
      MemorySegment memory = Bytes.zeros(length + 2);
      for (int at = 0; at < length; at++) {
        Bytes.set(memory, at + 1, 1 << at % 8);
        assertThat(ZeroTest.isZero(memory, 1, length)).as("byte %d of %d", at, length).isFalse();
        Bytes.set(memory, at + 1, 0);
      }
      assertThat(ZeroTest.isZero(memory, 1, length)).isTrue();
    }
  }

  @Test
  void aPartBeyondTheSegmentIsRefused() {
    MemorySegment memory = Bytes.zeros(64);
    assertThatThrownBy(() -> ZeroTest.isZero(memory, 1, 64))
        .isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> ZeroTest.isZero(memory, 0, -1))
        .isInstanceOf(IndexOutOfBoundsException.class);
  }
}
