package io.pageflux.examples.fault;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class FaultBenchTest {

  private static final long SEED = 20;

  @Test
  void aProcessIsKilledAtThePlaceThatWasDrawn() {
    FaultRun run =
        IntStream.range(0, 100_000)
            .mapToObj(number -> FaultRun.of(SEED, number))
            .filter(drawn -> drawn.scenario() == Scenario.KILL_SOURCE && drawn.atPlace())
            .filter(drawn -> drawn.mode() == Mode.PRECOPY)
            .filter(drawn -> drawn.describe().contains("before ROUND_END"))
            .findFirst()
            .orElseThrow();
    try (FaultBench bench = new FaultBench(SEED, false)) {
      RunResult result = bench.run(run.number());
      assertThat(result.detail()).startsWith("source: DIED");
      assertThat(result.struck()).isTrue();
      assertThat(result.findings()).isEmpty();
    }
  }

  @Test
  void whatHasNotHappenedIsNotCounted() {
    RunResult result = cutAfter(1L << 40);
    assertThat(result.struck()).isFalse();
    assertThat(result.course()).isEqualTo(RunResult.Course.COMPLETED);
    assertThat(result.findings()).isEmpty();
  }

  @Test
  void whatHasHappenedIsCounted() {
    RunResult result = cutAfter(1000);
    assertThat(result.struck()).isTrue();
    assertThat(result.course()).isEqualTo(RunResult.Course.KEPT);
    assertThat(result.findings()).isEmpty();
  }

  private static RunResult cutAfter(long bytes) {
    try (FaultBench bench = new FaultBench(SEED, false)) {
      return bench.run(
          new FaultRun(
              SEED,
              1,
              FaultRun.Sides.ONE_PROCESS,
              Mode.PRECOPY,
              Scenario.CUT,
              1 << 20,
              1 << 20,
              false,
              false,
              false,
              List.of(FaultPlan.of(Fault.cutAfter(bytes), Fault.NONE)),
              false,
              Duration.ofMillis(1),
              false));
    }
  }
}
