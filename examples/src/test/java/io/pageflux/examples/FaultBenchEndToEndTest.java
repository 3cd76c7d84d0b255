package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.regex.Matcher;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/** Random faults, the same in each build. */
@Execution(ExecutionMode.SAME_THREAD) // a bench has the machine for itself
class FaultBenchEndToEndTest {

  private static final String SEED = "20";

  @Test
  void aHundredRandomFaultsLoseNothing() throws Exception {
    // Some do not happen: the migration is over before, or never comes to that place.
    try (Cli cli = Cli.start("fault-bench", "--seed=" + SEED, "--runs=120", "--each")) {
      Matcher runs = cli.awaitLine("^120 runs, (\\d+) with something that happened, ");
      Cli.Result result = cli.result();
      assertThat(result.out().getFirst()).isEqualTo("seed " + SEED);
      assertThat(result.out().getLast())
          .as("with seed %s: %s", SEED, result.stdout())
          .isEqualTo(
              "0 lost guests, 0 with wrong or lost pages, 0 double guests, 0 hangs, 0 leaks, 0"
                  + " others");
      assertThat(result.exitCode()).isZero();
      assertThat(result.stdout())
          .contains("kill-", "postcopy ", "failed, and the source went on")
          .contains(
              "checkpoints-kill-source ", "went on at the destination from the newest checkpoint");
      assertThat(Integer.parseInt(runs.group(1))).isGreaterThanOrEqualTo(100);
    }
  }

  @Test
  void aPageThatIsDamagedIsFoundAndTheRunCanBeReplayed() throws Exception {
    Cli.Result result =
        Cli.run("fault-bench", "--seed=" + SEED, "--replay=5", "--runs=2", "--sabotage");
    assertThat(result.exitCode()).isEqualTo(1);
    assertThat(result.stdout())
        .contains(
            "wrong pages: run 5 ",
            "the first is page 0",
            "pageflux fault-bench --seed " + SEED + " --replay 5");
    assertThat(result.out().getLast()).startsWith("0 lost guests, 2 with wrong or lost pages");
  }
}
