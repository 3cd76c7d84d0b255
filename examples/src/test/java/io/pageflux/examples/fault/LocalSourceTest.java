package io.pageflux.examples.fault;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

class LocalSourceTest {

  /** Else whoever is to be killed there never is. */
  @Test
  void itIsToldWhenThePlaceOfTheLinesFaultHasCome() {
    FaultPlan plan =
        FaultPlan.of(Fault.stall(Place.afterBytes(100), Duration.ofMillis(1)), Fault.NONE);
    FaultRun run =
        new FaultRun(
            1,
            9,
            FaultRun.Sides.PROCESSES,
            Mode.PRECOPY,
            Scenario.KILL_SOURCE,
            512 << 10,
            0,
            false,
            false,
            false,
            List.of(plan),
            false,
            Duration.ZERO,
            true);
    AtomicInteger striking = new AtomicInteger();
    try (RunFolder folder = RunFolder.make()) {
      RunLock lock = new RunLock(folder.lock());
      LocalSource source = new LocalSource(run, lock, Mono.never(), striking::incrementAndGet);
      LocalDestination destination =
          new LocalDestination(run, folder.path(), lock, Mono.never(), () -> {}, memory -> {});
      try {
        Ending ending = source.attempt(destination.listen(true), true);
        assertThat(striking).as("%s", ending).hasValue(1);
        assertThat(destination.await().how()).isEqualTo(ending.how());
      } finally {
        source.end();
        destination.end();
      }
    }
  }
}
