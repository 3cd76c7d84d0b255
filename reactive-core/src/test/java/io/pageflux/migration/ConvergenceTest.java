package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Convergence.Action;
import io.pageflux.migration.Convergence.Figures;
import io.pageflux.migration.OutgoingSpec.LimitPolicy;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

class ConvergenceTest {

  private static Convergence convergence(LimitPolicy policy) {
    try (GuestMemory memory = GuestMemory.builder().anonymous("ram", 4096).build()) {
      return new Convergence(
          OutgoingSpec.of(memory, Guest.passive(), Mono::never)
              .withDowntimeLimit(Duration.ofMillis(100))
              .withMaxRounds(5)
              .withTimeout(Duration.ofSeconds(60))
              .withLimitPolicy(policy));
    }
  }

  private static Figures figures(int rounds, long seconds, long downtimeMillis, long pages) {
    return new Figures(
        rounds, Duration.ofSeconds(seconds), Duration.ofMillis(downtimeMillis), pages);
  }

  @Test
  void theGuestIsPausedWhenTheExpectedDowntimeIsWithinTheLimit() {
    Convergence convergence = convergence(LimitPolicy.ABORT);
    assertThat(convergence.decide(figures(1, 1, 101, 10)).action()).isEqualTo(Action.ANOTHER_ROUND);
    assertThat(convergence.decide(figures(1, 1, 100, 10)).action()).isEqualTo(Action.SWITCH_OVER);
    assertThat(convergence.decide(figures(1, 1, 5000, 0)).action()).isEqualTo(Action.SWITCH_OVER);
  }

  @Test
  void theLastRoundAllowedAndTheTimeoutLeaveItToThePolicy() {
    assertThat(convergence(LimitPolicy.ABORT).decide(figures(5, 1, 101, 10)).action())
        .isEqualTo(Action.ABORT);
    assertThat(convergence(LimitPolicy.SWITCH_OVER).decide(figures(5, 1, 101, 10)).action())
        .isEqualTo(Action.SWITCH_OVER);
    assertThat(convergence(LimitPolicy.ABORT).decide(figures(2, 60, 101, 10)).action())
        .isEqualTo(Action.ABORT);
    assertThat(convergence(LimitPolicy.SWITCH_OVER).decide(figures(2, 60, 101, 10)).action())
        .isEqualTo(Action.SWITCH_OVER);
  }

  @Test
  void theReasonNamesTheFigures() {
    assertThat(convergence(LimitPolicy.ABORT).decide(figures(5, 1, 1500, 10)).reason())
        .isEqualTo(
            "5 rounds have been sent and the expected downtime is still 1.5 s,"
                + " above the limit of 100 ms");
  }
}
