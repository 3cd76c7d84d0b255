package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.test.util.RaceTestUtils;

/** What races in a hand-over; all the rest is walked through in {@link HandOverModelTest}. */
class HandOverTest {

  private static HandOver offered() {
    HandOver handOver = new HandOver();
    assertThat(handOver.take(HandOver.Event.SWITCH_OVER)).isEqualTo(HandOver.Action.PAUSE_GUEST);
    assertThat(handOver.take(HandOver.Event.PAUSED)).isEqualTo(HandOver.Action.NONE);
    assertThat(handOver.take(HandOver.Event.OFFER)).isEqualTo(HandOver.Action.SAY_END);
    return handOver;
  }

  @Test
  void committingAndStoppingNeverBothHappen() {
    for (int i = 0; i < 2000; i++) {
      HandOver handOver = offered();
      AtomicInteger won = new AtomicInteger();
      RaceTestUtils.race(
          () -> won.addAndGet(handOver.commit() ? 1 : 0),
          () -> won.addAndGet(handOver.stop() ? 1 : 0));
      assertThat(won).as("attempt %d", i).hasValue(1);
    }
  }

  @Test
  void startingAndReportingAFailureNeverBothHappen() {
    for (int i = 0; i < 2000; i++) {
      TakeOver takeOver = new TakeOver();
      assertThat(takeOver.take(TakeOver.Event.END)).isEqualTo(TakeOver.Action.LOAD_STATE);
      assertThat(takeOver.take(TakeOver.Event.LOADED)).isEqualTo(TakeOver.Action.SAY_PREPARED);
      AtomicInteger won = new AtomicInteger();
      RaceTestUtils.race(
          () -> won.addAndGet(takeOver.take(TakeOver.Event.COMMIT) == null ? 0 : 1),
          () -> won.addAndGet(takeOver.stop() ? 1 : 0));
      assertThat(won).as("attempt %d", i).hasValue(1);
    }
  }

  @Test
  void theGuestIsResumedOnce() {
    HandOver handOver = offered();
    assertThat(handOver.stop()).isTrue();
    assertThat(handOver.stop()).isTrue();
    assertThat(handOver.take(HandOver.Event.END)).isEqualTo(HandOver.Action.RESUME_GUEST);
    assertThat(handOver.take(HandOver.Event.END)).isEqualTo(HandOver.Action.NONE);
  }

  @Test
  void aDestinationThatWillNotRunTheGuestGivesItBack() {
    HandOver handOver = offered();
    assertThat(handOver.commit()).isTrue();
    assertThat(handOver.isGivenUp()).isTrue();
    handOver.take(HandOver.Event.REFUSED);
    assertThat(handOver.isGivenUp()).isFalse();
    assertThat(handOver.commit()).isFalse();
  }

  @Test
  void aRefusalAfterTheGuestRunsChangesNothing() {
    HandOver handOver = offered();
    handOver.commit();
    assertThat(handOver.take(HandOver.Event.RUNNING)).isNotNull();
    handOver.take(HandOver.Event.REFUSED);
    assertThat(handOver.isTaken()).isTrue();
  }
}
