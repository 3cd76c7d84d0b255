package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.OptionalLong;
import org.junit.jupiter.api.Test;

class CompressionEffortTest {

  private static final long STEP = 250_000_000;
  private static final OptionalLong UNKNOWN = OptionalLong.empty();

  private CompressionEffort effort = new CompressionEffort(1);
  private long now = 1000;
  private long busy = 77;

  private int after(long nanos, double heldBackShare, double busyShare) {
    now += nanos;
    busy += (long) (nanos * busyShare);
    return effort.level(heldBackShare, OptionalLong.of(busy), now);
  }

  @Test
  void itGrowsStepByStepWhileTheLinkLimitsAndNotAboveTheLast() {
    assertThat(after(0, 0.9, 1)).isEqualTo(1);
    assertThat(after(STEP - 1, 0.9, 1)).isEqualTo(1);
    assertThat(after(1, 0.9, 1)).isEqualTo(3);
    assertThat(after(STEP, 0.9, 1)).isEqualTo(5);
    assertThat(after(STEP, 0.9, 1)).isEqualTo(5);
    assertThat(after(STEP, 0.6, 1)).isEqualTo(5);
    assertThat(after(STEP, 0.4, 1)).isEqualTo(3);
    assertThat(after(STEP, 0.6, 1)).isEqualTo(3);
    assertThat(after(STEP, 0.4, 1)).isEqualTo(1);
    assertThat(after(STEP, 0.4, 1)).isEqualTo(1);
  }

  @Test
  void aDestinationThatIsSlowIsNoReason() {
    after(0, 0.9, 1);
    assertThat(after(STEP, 0.95, 0.8)).isEqualTo(1);
    assertThat(after(STEP, 0.95, 1)).isEqualTo(3);
    assertThat(after(STEP, 0.95, 0.8)).isEqualTo(3);
    assertThat(after(STEP, 0.95, 0.3)).isEqualTo(1);
  }

  @Test
  void whereTheLinksUseIsNotKnownTheWaitingDecides() {
    effort.level(0.9, UNKNOWN, now);
    assertThat(effort.level(0.9, UNKNOWN, now += STEP)).isEqualTo(3);
    assertThat(effort.level(0.4, UNKNOWN, now + STEP)).isEqualTo(1);
  }

  @Test
  void aHigherLevelThatWasAskedForStays() {
    effort = new CompressionEffort(9);
    for (int i = 0; i < 5; i++) {
      assertThat(after(STEP, i % 2, 1)).isEqualTo(9);
    }
  }
}
