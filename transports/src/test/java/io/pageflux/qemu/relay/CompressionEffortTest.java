package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class CompressionEffortTest {

  private static final long STEP = 250_000_000;

  @Test
  void itGrowsStepByStepWhileTheLinkLimitsAndNotAboveTheLast() {
    CompressionEffort effort = new CompressionEffort(1);
    long now = 1000;
    assertThat(effort.level(0.9, now)).isEqualTo(1);
    assertThat(effort.level(0.9, now + STEP - 1)).isEqualTo(1);
    assertThat(effort.level(0.9, now += STEP)).isEqualTo(3);
    assertThat(effort.level(0.9, now += STEP)).isEqualTo(5);
    assertThat(effort.level(0.9, now += STEP)).isEqualTo(5);
    assertThat(effort.level(0.6, now += STEP)).isEqualTo(5);
    assertThat(effort.level(0.4, now += STEP)).isEqualTo(3);
    assertThat(effort.level(0.6, now += STEP)).isEqualTo(3);
    assertThat(effort.level(0.4, now += STEP)).isEqualTo(1);
    assertThat(effort.level(0.4, now + STEP)).isEqualTo(1);
  }

  @Test
  void aHigherLevelThatWasAskedForStays() {
    CompressionEffort effort = new CompressionEffort(9);
    long now = 0;
    for (int i = 0; i < 5; i++) {
      assertThat(effort.level(i % 2, now += STEP)).isEqualTo(9);
    }
  }
}
