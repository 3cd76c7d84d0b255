package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class LayoutCheckTest {

  private static RamLayout layout(RamBlockLayout... blocks) {
    return new RamLayout(List.of(blocks));
  }

  private static RamBlockLayout block(String name, long size, int pageSize) {
    return new RamBlockLayout(name, size, pageSize);
  }

  @Test
  void equalLayoutsPass() {
    LayoutCheck.requireSame(
        layout(block("a", 4096, 512), block("b", 8192, 4096)),
        layout(block("a", 4096, 512), block("b", 8192, 4096)));
  }

  @Test
  void everyDifferenceIsNamed() {
    RamLayout source = layout(block("a", 4096, 512), block("b", 8192, 4096), block("c", 512, 512));
    RamLayout other = layout(block("a", 8192, 4096), block("d", 512, 512), block("c", 512, 512));
    assertThatThrownBy(() -> LayoutCheck.requireSame(source, other))
        .isInstanceOf(MigrationException.class)
        .hasMessage(
            "the RAM blocks differ: the size of block 'a' is 4096 bytes at the source, but 8192 at"
                + " the destination; the page size of block 'a' is 512 bytes at the source, but"
                + " 4096 at the destination; the destination has no block 'b'; the source has no"
                + " block 'd'. The source has [a: 4096 bytes in pages of 512; b: 8192 bytes in"
                + " pages of 4096; c: 512 bytes in pages of 512], the destination has [a: 8192"
                + " bytes in pages of 4096; d: 512 bytes in pages of 512; c: 512 bytes in pages of"
                + " 512]")
        .extracting("kind")
        .isEqualTo(MigrationException.Kind.LAYOUT);
  }

  @Test
  void theOrderCounts() {
    RamLayout ab = layout(block("a", 4096, 512), block("b", 8192, 4096));
    RamLayout ba = layout(block("b", 8192, 4096), block("a", 4096, 512));
    assertThatThrownBy(() -> LayoutCheck.requireSame(ab, ba))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("the same blocks are in another order");
  }

  @Test
  void theMessageIsBounded() {
    List<RamBlockLayout> blocks = new ArrayList<>();
    for (int i = 0; i < WireLimits.MAX_BLOCKS; i++) {
      blocks.add(block("\033" + "%0200d".formatted(i), 4096, 512));
    }
    Throwable error =
        catchThrowable(
            () -> LayoutCheck.requireSame(new RamLayout(blocks), layout(block("x", 512, 512))));
    assertThat(error)
        .hasMessageContaining("and 4081 more differences")
        .hasMessageContaining("and 4080 more blocks")
        .hasMessageNotContaining("\033");
    assertThat(String.valueOf(error.getMessage()).length()).isLessThan(20_000);
  }
}
