package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DemoEndToEndTest {

  // Slow enough to be interrupted in the first round.
  private static final String[] SLOW = {"demo", "--size=64m", "--link-rate=2m", "--codec=none"};

  @Test
  void aRunningStoreArrivesWholeAndTheReportSaysSo() throws Exception {
    Cli.Result result = Cli.run("demo", "--size=64m", "--dirty-rate=20m", "--run-after=100ms");

    assertThat(result.messages()).isEmpty();
    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("round", "last", "downtime", "xbzrle", "compression")
        .contains("every one is sound, recent and in its place");
  }

  @Test
  void theJsonReportIsAllThatGoesToStandardOutput() throws Exception {
    Cli.Result result =
        Cli.run("demo", "--size=32m", "--dirty-rate=10m", "--run-after=100ms", "--json");

    assertThat(result.exitCode()).as("%s", result).isZero();
    JsonNode json = new ObjectMapper().readTree(result.stdout());
    assertThat(json.path("status").asText()).isEqualTo("completed");
    assertThat(json.path("ram").path("total").asLong()).isEqualTo(32 << 20);
    assertThat(json.path("demo").path("verified").asBoolean()).isTrue();
    assertThat(json.path("verification").path("records").asLong()).isPositive();
    assertThat(json.path("verification").path("updates").asLong()).isPositive();
  }

  @Test
  void theSourceMayWriteToTheDestinationsMemoryItself(@TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        Cli.run(
            "demo",
            "--size=64m",
            "--dirty-rate=20m",
            "--run-after=100ms",
            "--shared-memory",
            "--json=" + report);

    assertThat(result.messages()).isEmpty();
    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("in memory that both sides share")
        .doesNotContain("not placed")
        .contains("every one is sound, recent and in its place");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    long placed = json.path("placement").path("pages").asLong();
    assertThat(placed).isPositive().isEqualTo(json.path("ram").path("normal").asLong());
    assertThat(json.path("placement").path("bytes").asLong()).isEqualTo(placed * 4096);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 3})
  void theStoreMayGoOnBeforeItsMemoryIsThere(int rounds, @TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        Cli.run(
            "demo",
            "--size=64m",
            "--dirty-rate=200m",
            "--link-rate=100m",
            "--run-after=100ms",
            "--postcopy",
            "--postcopy-after=" + rounds,
            "--json=" + report);

    assertThat(result.messages()).isEmpty();
    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("post-copy", "switched after", "in pre-copy", "waited", "median")
        .contains("every one is sound, recent and in its place");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    JsonNode postcopy = json.path("postcopy");
    assertThat(json.path("status").asText()).isEqualTo("completed");
    assertThat(postcopy.path("absent-pages").asLong())
        .isPositive()
        .isEqualTo(
            postcopy.path("requested-pages").asLong() + postcopy.path("pushed-pages").asLong());
    assertThat(json.path("ram").path("postcopy-requests").asLong()).isPositive();
    assertThat(json.path("ram").path("postcopy-bytes").asLong()).isPositive();
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "xbzrle", "zstd:3"})
  void everyCodecWillDo(String codec, @TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        Cli.run(
            "demo",
            "--size=32m",
            "--dirty-rate=10m",
            "--run-after=50ms",
            "--codec=" + codec,
            "--json=" + report);

    assertThat(result.exitCode()).as("%s", result).isZero();
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(json.path("demo").path("codec").asText()).isEqualTo(codec);
    assertThat(json.has("xbzrle-cache")).isEqualTo(codec.contains("xbzrle"));
    assertThat(json.has("compression")).isEqualTo(codec.contains("zstd"));
  }

  /** 1.5 times what the link carries, in so small a memory that most of it is written again. */
  private static Cli.Result tooFast(Path report, String... more) throws Exception {
    List<String> arguments = new ArrayList<>();
    arguments.addAll(
        List.of(
            "demo",
            "--size=32m",
            "--dirty-rate=12m",
            "--link-rate=8m",
            "--codec=none",
            "--run-after=50ms",
            "--max-rounds=1000",
            "--json=" + report));
    arguments.addAll(List.of(more));
    return Cli.run(arguments.toArray(String[]::new));
  }

  /** The same, with rounds of a second at the most. */
  private static Cli.Result tooFastForAMoment(Path report, String... more) throws Exception {
    List<String> arguments = new ArrayList<>();
    arguments.addAll(
        List.of(
            "demo",
            "--size=16m",
            "--dirty-rate=24m",
            "--link-rate=16m",
            "--codec=none",
            "--run-after=50ms",
            "--max-rounds=1000",
            "--json=" + report));
    arguments.addAll(List.of(more));
    return Cli.run(arguments.toArray(String[]::new));
  }

  private static List<String> steps(JsonNode json) {
    List<String> steps = new ArrayList<>();
    json.path("steps").forEach(step -> steps.add(step.path("step").asText()));
    return steps;
  }

  @Test
  void aGuestThatWritesFasterThanTheLinkConvergesWhenItIsThrottled(@TempDir Path folder)
      throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result = tooFast(report, "--auto-converge", "--downtime-limit=100ms");

    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("guest throttled by 20 %", "guest not throttled any more", "auto-converge")
        .contains("every one is sound, recent and in its place");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(steps(json)).startsWith("throttle").endsWith("switch-over", "throttle-lifted");
    assertThat(json.path("demo").path("policy").asText()).isEqualTo("auto-converge");
  }

  @Test
  void aGuestIsThrottledByTheRuleThatWasGiven(@TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        tooFastForAMoment(
            report,
            "--auto-converge",
            "--cpu-throttle-initial=70",
            "--cpu-throttle-increment=20",
            "--max-cpu-throttle=90",
            // However slow the machine is: nearly any guest is throttled, and no limit is met.
            "--throttle-trigger-threshold=1",
            "--downtime-limit=1us",
            "--timeout=6s");
    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout()).contains("guest throttled by 70 %");
  }

  @Test
  void aGuestThatWritesFasterThanTheLinkConvergesWhenTheLimitIsRaised(@TempDir Path folder)
      throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result = tooFastForAMoment(report, "--ramp-downtime=1ms..12s");
    assertThat(result.exitCode()).as("%s", result).isZero();
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    // The first level, and one that is enough.
    assertThat(steps(json)).containsExactly("downtime-limit", "downtime-limit", "switch-over");
    assertThat(json.path("demo").path("policy").asText()).isEqualTo("ramped limit");
  }

  @ParameterizedTest
  @ValueSource(strings = {"short-migration", "short-downtime", "finish-within=6s"})
  void aGuestThatWritesFasterThanTheLinkConvergesByIntent(String intent, @TempDir Path folder)
      throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result = tooFast(report, "--intent=" + intent, "--downtime-limit=200ms");

    assertThat(result.exitCode()).as("%s", result).isZero();
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(json.path("demo").path("verified").asBoolean()).isTrue();
    if (intent.equals("short-migration")) {
      assertThat(steps(json)).contains("downtime-limit");
    }
  }

  @Test
  void withoutAPolicyItIsGivenUpAndGoesOnAtTheSource(@TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        tooFast(report, "--on-limit=abort", "--timeout=5s", "--downtime-limit=50ms");

    result.isFailure(
        1,
        "does not converge: 5 s are over",
        "the guest goes on at the source: ",
        "every one is sound");
    assertThat(result.stdout()).contains("migration given up");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(json.path("status").asText()).isEqualTo("failed");
    assertThat(steps(json)).containsExactly("abort");
  }

  private static long[] pids(Cli demo) throws InterruptedException {
    Matcher pids = demo.awaitLine("destination is process (\\d+), source is process (\\d+)");
    return new long[] {Long.parseLong(pids.group(1)), Long.parseLong(pids.group(2))};
  }

  private static void assertNoneIsLeft(long... pids) {
    for (long pid : pids) {
      assertThat(ProcessHandle.of(pid).filter(ProcessHandle::isAlive)).isEmpty();
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"destination", "source"})
  void aProcessThatDiesIsNamedAndTheOtherIsEnded(String which) throws Exception {
    try (Cli demo = Cli.start(SLOW)) {
      long[] pids = pids(demo);
      ProcessHandle.of(pids[which.equals("destination") ? 0 : 1]).orElseThrow().destroyForcibly();

      demo.result().isFailure(1, "the " + which + " process was ended by signal 9");
      assertNoneIsLeft(pids);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"INT", "TERM"})
  void aSignalEndsBothProcessesInOrder(String signal) throws Exception {
    try (Cli demo = Cli.start(SLOW)) {
      long[] pids = pids(demo);
      demo.signal(signal);

      demo.result()
          .isFailure(
              signal.equals("INT") ? 130 : 143, "interrupted: the guest went on at the source");
      assertNoneIsLeft(pids);
    }
  }

  @Test
  void theTwoProcessesDoNotOutliveTheOneThatStartedThem() throws Exception {
    try (Cli demo = Cli.start(SLOW)) {
      long[] pids = pids(demo);
      var ends =
          java.util.Arrays.stream(pids)
              .mapToObj(pid -> ProcessHandle.of(pid).orElseThrow().onExit())
              .toList();
      demo.signal("KILL");
      for (var end : ends) {
        end.get(60, java.util.concurrent.TimeUnit.SECONDS);
      }
      assertNoneIsLeft(pids);
    }
  }

  @Test
  void aLineThatIsCutAgainAndAgainIsMadeAgain(@TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        Cli.run(
            "demo",
            "--size=64m",
            "--link-rate=60m",
            "--dirty-rate=8m",
            "--run-after=300ms",
            "--break-at=30%,60%,60%,90%",
            "--json=" + report);

    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("the connection is to be made again", "the destination has the rest")
        .contains("every one is sound, recent and in its place");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(json.path("status").asText()).isEqualTo("completed");
    assertThat(steps(json)).filteredOn("resumed"::equals).hasSizeGreaterThanOrEqualTo(3);
    assertThat(steps(json)).filteredOn("connection-lost"::equals).hasSize(4);
    // All of the memory was sent once, and little of it twice.
    assertThat(json.path("ram").path("normal").asLong()).isLessThan(2 * (64 << 20) / 4096);
  }

  @Test
  void itIsCutHoweverSoonTheMigrationWouldBeOver() throws Exception {
    Cli.Result result =
        Cli.run(
            "demo",
            "--size=16m",
            "--dirty-rate=1m",
            "--run-after=50ms",
            "--downtime-limit=10s",
            "--break-at=99%,99%,99%");

    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout()).contains("every one is sound, recent and in its place");
  }

  @Test
  void alsoWhileTheStoreRunsBeforeItsMemoryIsThere(@TempDir Path folder) throws Exception {
    Path report = folder.resolve("report.json");
    Cli.Result result =
        Cli.run(
            "demo",
            "--size=64m",
            "--codec=none",
            "--link-rate=12m",
            "--dirty-rate=8m",
            "--run-after=300ms",
            "--postcopy",
            "--postcopy-after=0", // after a second, which is long before the first break
            "--break-at=80%,95%",
            "--json=" + report);

    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("the connection is to be made again", "post-copy goes on, with")
        .contains("every one is sound, recent and in its place");
    JsonNode json = new ObjectMapper().readTree(Files.readString(report));
    assertThat(json.path("status").asText()).isEqualTo("completed");
    assertThat(json.path("ram").path("transferred").asLong()).isLessThan((64 << 20) * 115L / 100);
  }
}
