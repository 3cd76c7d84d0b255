package io.pageflux.prediction;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class ProcessorsTest {

  @Test
  void whatTheKernelCountsIsRead() {
    assertThat(Processors.parse("cpu  100 20 30 400 50 6 7 8 90 10\ncpu0 1 2 3 4\nintr 5\n"))
        .isEqualTo(new Processors(100 + 20 + 30 + 6 + 7 + 8, 100 + 20 + 30 + 400 + 50 + 6 + 7 + 8));
    assertThat(Processors.parse("")).isEqualTo(new Processors(0, 0));
    assertThat(Processors.now().allTicks()).isPositive();
  }

  @Test
  void whatOthersNeedIsNotLeft() {
    Processors before = new Processors(1000, 5000);
    // Of four processors one and a half were busy, a half of one by ourselves.
    Processors after = new Processors(1000 + 150, 5000 + 400);
    assertThat(after.left(before, 0.5, 4)).isCloseTo(3, within(1e-9));
    assertThat(after.left(before, 9, 4)).isEqualTo(4);
  }

  @Test
  void halfOfAllIsLeftHoweverBusyTheyAre() {
    assertThat(new Processors(400, 400).left(new Processors(0, 0), 0, 4)).isEqualTo(2);
  }

  @Test
  void withoutFiguresAllAreLeft() {
    Processors none = new Processors(0, 0);
    assertThat(none.left(none, 0, 4)).isEqualTo(4);
  }
}
