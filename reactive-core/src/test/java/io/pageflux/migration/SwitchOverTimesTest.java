package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.convergence.SwitchOverCost;
import io.pageflux.convergence.SwitchOverCost.Part;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class SwitchOverTimesTest {

  private final SwitchOverCost cost = SwitchOverCost.of(Duration.ZERO);
  private final AtomicLong millis = new AtomicLong();
  private final SwitchOverTimes times = new SwitchOverTimes(cost, () -> millis.get() * 1_000_000);

  @Test
  void eachPartIsTakenFromItsBeginningToItsEndWithoutTheAnswer() {
    times.begin(Part.PAUSE);
    millis.addAndGet(150);
    times.end(Part.PAUSE);
    millis.addAndGet(1000); // the last round
    times.begin(Part.PREPARE, 5_000_000);
    millis.addAndGet(25);
    times.end(Part.PREPARE);
    assertThat(cost.expected()).hasMillis(150 + 20);
  }

  @Test
  void whatDoesNotEndOrIsNotUnderWayTeachesNothing() {
    times.end(Part.START);
    times.begin(Part.PAUSE);
    millis.addAndGet(150);
    times.begin(Part.STATE);
    times.end(Part.PAUSE);
    assertThat(cost.expected()).isZero();
  }
}
