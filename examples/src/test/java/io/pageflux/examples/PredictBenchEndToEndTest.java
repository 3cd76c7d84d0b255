package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

/**
 * Two cases whose verdict no machine makes doubtful; how good times are is for the bench to say.
 */
@Execution(ExecutionMode.SAME_THREAD) // what it measures is not to be disturbed
class PredictBenchEndToEndTest {

  @Test
  void predictionsAreComparedWithWhatHappens() throws Exception {
    Cli.Result result =
        Cli.run("predict-bench", "--guests=2", "--links=10,120", "--duration=1s", "--timeout=3s");
    assertThat(result.out().getLast())
        .as("%s", result)
        .matches("2 of 2 verdicts right; [01] of 1 times within 25 %");
    assertThat(result.exitCode()).isEqualTo(result.out().getLast().contains("; 1 of 1") ? 0 : 1);
    assertThat(result.stdout())
        .containsPattern("64m, 40m/s, raw +10 \\| does not .*\\| does not .* right")
        .containsPattern("64m, 40m/s, raw +120 \\| converges .*\\| converges .* right");
  }

  @Test
  void aGuestThatThereIsNotIsRefused() throws Exception {
    Cli.call("predict-bench", "--guests=10").isFailure(2, "--guests are 1 to 9, but one was 10");
  }
}
