package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Execution(ExecutionMode.SAME_THREAD) // what it measures is not to be disturbed
class CheckpointEndToEndTest {

  @ParameterizedTest
  @ValueSource(strings = {"xbzrle+zstd:1", "none"})
  void theStoreGoesOnFromTheLastCheckpointWhenItsSourceWasKilled(String codec, @TempDir Path folder)
      throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        Cli.run(
            "demo",
            "--checkpoint=100ms",
            "--checkpoints=4",
            "--size=64m",
            "--dirty-rate=40m",
            "--run-after=100ms",
            "--codec=" + codec,
            "--json=" + report);

    assertThat(result.messages()).isEmpty();
    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("checkpoint 4", "taken over", "every one is sound, recent and in its place");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(json.path("demo").path("verified").asBoolean()).isTrue();
    assertThat(json.path("checkpoints").size()).isGreaterThanOrEqualTo(4);
    assertThat(json.path("taken-over").asLong()).isGreaterThanOrEqualTo(4);
  }

  @Test
  void aCheckpointIsTakenWheneverSomebodyAsks() throws Exception {
    try (Cli demo =
        Cli.start(
            "demo",
            "--checkpoint=1h",
            "--checkpoint-on-enter",
            "--checkpoints=3",
            "--size=64m",
            "--dirty-rate=10m",
            "--run-after=50ms")) {
      demo.awaitLine("checkpoint 1 ");
      demo.sayLine();
      demo.awaitLine("checkpoint 2 ");
      demo.sayLine();
      demo.awaitLine("checkpoint 3 ");
      assertThat(demo.result().exitCode()).as("%s", demo.result()).isZero();
      assertThat(demo.result().stdout()).contains("every one is sound, recent and in its place");
    }
  }

  @Test
  void aStagingAreaThatIsTooSmallOnlyMakesTheGuestWait() throws Exception {
    Cli.Result result =
        Cli.run(
            "demo",
            "--checkpoint=200ms",
            "--checkpoints=3",
            "--checkpoint-staging=1m",
            "--size=64m",
            "--dirty-rate=40m",
            "--run-after=100ms");

    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout()).contains("it did not fit the staging area", "taken over");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "--checkpoint=0s",
        "--checkpoint=1s --checkpoints=0",
        "--checkpoints=3",
        "--checkpoint-on-enter",
        "--checkpoint=1s --auto-converge",
        "--checkpoint=1s --checkpoint-staging=1k"
      })
  void whatMakesNoSenseIsRefused(String options) throws Exception {
    String[] arguments = ("demo " + options).split(" ");
    Cli.Result result = Cli.call(arguments);
    assertThat(result.exitCode()).isEqualTo(2);
  }

  @Test
  void theBenchSaysWhetherPausesAreShort() throws Exception {
    Cli.Result result =
        Cli.run(
            "checkpoint-bench",
            "--size=64m",
            "--dirty-rate=10m",
            "--interval=100ms",
            "--checkpoints=3",
            "--staging=32m");
    assertThat(result.exitCode()).as("%s", result).isIn(0, 1);
    assertThat(result.stdout())
        .containsPattern("memory is copied at [0-9]+\\.[0-9] GB/s")
        .contains("3 checkpoints, ");
    double pause = median(result, "pause");
    double scan = median(result, "of it the scan");
    double allowed = median(result, "allowed");
    assertThat(pause).isGreaterThan(0).isGreaterThanOrEqualTo(scan);
    assertThat(median(result, "until acknowledged")).isGreaterThan(0);
    // Scan, copying at half speed, and 10 ms.
    assertThat(allowed).isGreaterThanOrEqualTo(10 + scan);
    boolean met = pause <= allowed;
    assertThat(result.out().getLast())
        .as("%s", result)
        .isEqualTo(
            "median of the pauses within that of what is allowed: " + (met ? "met" : "MISSED"));
    assertThat(result.exitCode()).isEqualTo(met ? 0 : 1);
  }

  private static double median(Cli.Result result, String what) {
    Matcher matcher =
        Pattern.compile("^" + what + " +median +([0-9.]+) ms", Pattern.MULTILINE)
            .matcher(result.stdout());
    assertThat(matcher.find()).as("%s in %s", what, result).isTrue();
    return Double.parseDouble(matcher.group(1));
  }
}
