package io.pageflux.examples;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Mono;

/** The capture as a process of its own. */
@RequiresQemu
class QemuCaptureEndToEndTest {

  private static final BootSector WRITER = BootSector.upToMiB(16).withDelay(2_000);

  @TempDir private Path temp = Path.of("");

  private static QemuProcess source(long bytesPerSecond) {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.awaitBooted();
    qemu.commands().setCapabilities(Map.of("return-path", true)).block(PATIENCE);
    qemu.commands()
        .setParameters(Map.of("max-bandwidth", bytesPerSecond, "downtime-limit", 5_000))
        .block(PATIENCE);
    return qemu;
  }

  private Cli capture(String... more) throws Exception {
    return Cli.start(
        Stream.concat(
                Stream.of("qemu-capture", "--listen=0", directory().toString()), Stream.of(more))
            .toArray(String[]::new));
  }

  private Path directory() {
    return temp.resolve("guest");
  }

  private static String uri(Cli capture) throws InterruptedException {
    return "tcp:" + capture.awaitLine("waiting for QEMU: migrate tcp:(\\S+:\\d+)$").group(1);
  }

  private static MigrateStatus await(QemuProcess source, Predicate<MigrateStatus> condition) {
    return Objects.requireNonNull(
        Mono.defer(source.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(condition)
            .blockFirst(PATIENCE));
  }

  @Test
  void aGuestIsCapturedAndRunsAgain() throws Exception {
    Path report = temp.resolve("report.json");
    try (QemuProcess source = source(20 << 20);
        Cli capture = capture("--json=" + report)) {
      source.commands().migrate(uri(capture)).block(PATIENCE);
      assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
      Cli.Result result = capture.result();
      assertThat(result.exitCode()).as("%s", result).isZero();
      assertThat(result.stdout()).contains("complete  ", "with return path", directory() + "");

      byte[] image = Files.readAllBytes(directory().resolve("pc.ram"));
      byte[] memory = source.pmemsave(WRITER);
      assertThat(Arrays.copyOfRange(image, WRITER.firstByte(), WRITER.endByte())).isEqualTo(memory);
      JsonNode index = new ObjectMapper().readTree(directory().resolve("capture.json").toFile());
      assertThat(new ObjectMapper().readTree(report.toFile())).isEqualTo(index);
      assertThat(Cli.call("qemu-inspect", directory().resolve("stream").toString()).exitCode())
          .isZero();

      try (QemuProcess again =
          QemuProcess.builder()
              .boot(WRITER)
              .with("-incoming", "exec:cat " + directory().resolve("stream"))
              .start()) {
        again.awaitPasses(2);
        again.commands().stop().block(PATIENCE);
        byte[] now = again.pmemsave(WRITER);
        WRITER.check(now);
        assertThat(WRITER.generation(now)).isGreaterThan(WRITER.generation(memory));
      }
    }
    Cli.call("qemu-capture", "--listen=0", directory().toString()).isFailure(1, "is not empty");
  }

  @Test
  void anInterruptedCaptureLeavesTheGuestAtTheSource() throws Exception {
    try (QemuProcess source = source(2 << 20);
        Cli capture = capture()) {
      source.commands().migrate(uri(capture)).block(PATIENCE);
      await(source, s -> s.info().path("ram").path("transferred").asLong() > 2 << 20);
      capture.signal("INT");
      Cli.Result result = capture.result();
      assertThat(result.exitCode()).isEqualTo(130);
      assertThat(result.err()).last().asString().contains("stopped", "*.partial");
      assertThat(await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
      source.awaitPasses(1);
      assertThat(directory().resolve("pc.ram.partial")).exists();
      assertThat(directory().resolve("capture.json")).doesNotExist();
    }
  }

  @Test
  void aGuestThatIsTooLargeIsRefused() throws Exception {
    try (QemuProcess source = source(100 << 20);
        Cli capture = capture("--max-ram=16m")) {
      source.commands().migrate(uri(capture)).block(PATIENCE);
      capture.result().isFailure(1, "more than the limit of 16777216", "*.partial");
      assertThat(await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }
}
