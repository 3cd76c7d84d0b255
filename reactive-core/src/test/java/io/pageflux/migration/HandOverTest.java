package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.test.util.RaceTestUtils;

class HandOverTest {

  @Test
  void committingAndAbortingNeverBothHappen() {
    for (int i = 0; i < 2000; i++) {
      HandOver handOver = new HandOver();
      AtomicInteger won = new AtomicInteger();
      RaceTestUtils.race(
          () -> won.addAndGet(handOver.commit() ? 1 : 0),
          () -> won.addAndGet(handOver.abort() ? 1 : 0));
      assertThat(won).as("attempt %d", i).hasValue(1);
    }
  }

  @Test
  void afterTheCommitItIsTooLateToAbort() {
    HandOver handOver = new HandOver();
    assertThat(handOver.commit()).isTrue();
    assertThat(handOver.abort()).isFalse();
    assertThat(handOver.isGivenUp()).isTrue();
    assertThat(handOver.isUncertain()).isTrue();
    handOver.taken();
    assertThat(handOver.isUncertain()).isFalse();
    assertThat(handOver.isGivenUp()).isTrue();
  }

  @Test
  void aDestinationThatWillNotRunTheGuestGivesItBack() {
    HandOver handOver = new HandOver();
    handOver.commit();
    handOver.refused();
    assertThat(handOver.isGivenUp()).isFalse();
    assertThat(handOver.commit()).isFalse();
  }

  @Test
  void aRefusalAfterTheGuestRunsChangesNothing() {
    HandOver handOver = new HandOver();
    handOver.commit();
    handOver.taken();
    handOver.refused();
    assertThat(handOver.isGivenUp()).isTrue();
  }

  @Test
  void aRefusalBeforeTheCommitRulesItOut() {
    HandOver handOver = new HandOver();
    handOver.refused();
    assertThat(handOver.commit()).isFalse();
    assertThat(handOver.abort()).isTrue();
    assertThat(handOver.abort()).isTrue();
  }
}
