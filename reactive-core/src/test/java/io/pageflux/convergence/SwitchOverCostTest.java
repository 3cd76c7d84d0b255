package io.pageflux.convergence;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;

import io.pageflux.convergence.SwitchOverCost.Part;
import java.time.Duration;
import org.junit.jupiter.api.Test;

class SwitchOverCostTest {

  private final SwitchOverCost cost = SwitchOverCost.of(Duration.ofMillis(50));

  private void learn(Part part, long millis) {
    cost.learn(part, Duration.ofMillis(millis));
  }

  private void learnAll(long millis) {
    for (Part part : Part.values()) {
      learn(part, millis);
    }
  }

  @Test
  void whatWasGivenHoldsUntilEveryPartWasMeasured() {
    assertThat(cost.expected()).hasMillis(50);
    learn(Part.PAUSE, 10);
    assertThat(cost.expected()).as("the other parts may be the rest").hasMillis(50);
    learn(Part.STATE, 70);
    assertThat(cost.expected()).as("more than was given").hasMillis(80);
    assertThat(cost.isLearned()).isFalse();
  }

  @Test
  void whatWasMeasuredReplacesWhatWasGiven() {
    learnAll(1);
    assertThat(cost.isLearned()).isTrue();
    assertThat(cost.expected()).hasMillis(4);
  }

  @Test
  void aTimeThatIsLikeNoOtherDoesNotCount() {
    learnAll(1);
    learn(Part.PAUSE, 100);
    assertThat(cost.expected()).as("one was held up").hasMillis(4);
    learn(Part.PAUSE, 3);
    assertThat(cost.expected()).hasMillis(3 + 3);
  }

  @Test
  void whatTheGuestHasBecomeIsLearned() {
    learnAll(1);
    for (int i = 0; i < 5; i++) {
      learn(Part.PAUSE, 100);
    }
    assertThat(cost.expected()).hasMillis(100 + 3);
  }

  @Test
  void aPartIsNeverLessThanNothing() {
    learnAll(-3); // An answer may come faster than the fastest one before.
    assertThat(cost.expected()).isZero();
    assertThatIllegalArgumentException().isThrownBy(() -> SwitchOverCost.of(Duration.ofMillis(-1)));
  }
}
