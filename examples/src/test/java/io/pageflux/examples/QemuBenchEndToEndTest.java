package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.qemu.testing.LinuxGuest;
import io.pageflux.qemu.testing.RequiresLinuxGuest;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

@RequiresLinuxGuest
@Execution(ExecutionMode.SAME_THREAD) // the network namespaces of the bench have names
class QemuBenchEndToEndTest {

  private static final String GUEST = "--guest=" + LinuxGuest.directory();

  @TempDir private Path directory;

  @BeforeEach
  void namespacesCanBeMade() {
    assumeTrue(Files.isWritable(Path.of("/run")), "namespaces are made by root");
    assumeTrue(Files.isExecutable(Path.of("/usr/sbin/tc")), "iproute2 is not installed");
  }

  private static long namespaces() {
    return List.of("pageflux-a", "pageflux-b").stream()
        .filter(name -> Files.exists(Path.of("/run/netns", name)))
        .count();
  }

  @Test
  void theGuestIsMovedByAllMeans() throws Exception {
    Path json = directory.resolve("bench.json");
    try (Cli bench =
        Cli.start(
            "qemu-bench",
            "--scenes=500mbit:2",
            "--against=multifd-zstd",
            "--repeat=1",
            "--warm-up=0",
            "--memory=128",
            "--fill=16",
            "--json=" + json,
            GUEST)) {
      bench.awaitLine("link of 500mbit, guest rewrites 2 MB/s");
      bench.awaitLine("  QEMU, multifd zstd .*");
      bench.awaitLine("  relays, warm .*");
      bench.awaitLine("  bytes on the wire to .*");
      bench.awaitLine("  relays, cold, 1 migrations");
      // Whether targets are met is not the question.
      assertThat(bench.result().exitCode()).isIn(ExitCode.OK, ExitCode.FAILED);
    }
    JsonNode results = new ObjectMapper().readTree(json.toFile()).path("results");
    List<String> means =
        StreamSupport.stream(results.spliterator(), false)
            .map(result -> result.path("means").asText())
            .toList();
    assertThat(means).contains("QEMU, defaults", "relays, warm", "relays, cold");
    for (JsonNode result : results) {
      JsonNode move = result.path("migrations").path(0);
      assertThat(move.path("arrived").asDouble()).as("%s", result).isPositive();
      assertThat(move.path("total-time").asDouble()).as("%s", result).isPositive();
      assertThat(move.path("silence").asDouble()).as("%s", result).isPositive();
      assertThat(move.path("wire-bytes").asDouble()).as("%s", result).isGreaterThan(5e6);
    }
    assertThat(namespaces()).isZero();
  }

  @Test
  void interruptedItLeavesNothingBehind() throws Exception {
    try (Cli bench = Cli.start("qemu-bench", "--scenes=1gbit", "--memory=128", GUEST)) {
      bench.awaitLine("Warming up .*");
      bench.signal("INT");
      assertThat(bench.result().exitCode()).isEqualTo(ExitCode.INTERRUPTED);
    }
    assertThat(namespaces()).isZero();
  }

  @Test
  void whatIsNoSceneIsRefused() throws Exception {
    Cli.call("qemu-bench", "--scenes=fast", GUEST)
        .isFailure(ExitCode.FAILED, "'fast' is no scene", "50mbit:5");
    Cli.call("qemu-bench", "--against=multifd-fast", GUEST)
        .isFailure(ExitCode.FAILED, "'multifd-fast' is no setting", "multifd-zstd");
  }
}
