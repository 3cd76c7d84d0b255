package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** Random faults, the same in each build. */
class FaultBenchEndToEndTest {

  private static final String SEED = "20";

  @Test
  void aHundredRandomFaultsLoseNothing() throws Exception {
    Cli.Result result = Cli.run("fault-bench", "--seed=" + SEED, "--runs=100");
    assertThat(result.out().getFirst()).isEqualTo("seed " + SEED);
    // In about one of 300 runs a socket is left open, which this bench has found and nobody has
    // explained yet; nothing else may go wrong.
    assertThat(result.out().getLast())
        .as("with seed %s: %s", SEED, result.stdout())
        .matches(
            "0 lost guests, 0 with wrong or lost pages, 0 double guests, 0 hangs, [0-2] leaks,"
                + " 0 others");
    assertThat(result.stdout())
        .contains("100 runs, ", "kill-", "failed, and the source went on")
        .contains(
            "checkpoints-kill-source ", "went on at the destination from the newest checkpoint");
  }

  @Test
  void aPageThatIsDamagedIsFoundAndTheRunCanBeReplayed() throws Exception {
    Cli.Result result =
        Cli.run("fault-bench", "--seed=" + SEED, "--replay=1", "--runs=2", "--sabotage");
    assertThat(result.exitCode()).isEqualTo(1);
    assertThat(result.stdout())
        .contains(
            "wrong pages: run 1 ",
            "the first is page 1",
            "pageflux fault-bench --seed " + SEED + " --replay 1");
    assertThat(result.out().getLast()).startsWith("0 lost guests, 2 with wrong or lost pages");
  }
}
