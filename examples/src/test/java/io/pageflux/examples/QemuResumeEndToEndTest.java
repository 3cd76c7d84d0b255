package io.pageflux.examples;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresPostcopy;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Mono;

/** The lazy resume as a process of its own. */
@RequiresPostcopy
class QemuResumeEndToEndTest {

  private static final BootSector WRITER = BootSector.upToMiB(16);

  @TempDir private Path temp = Path.of("");

  private long capturedGeneration;

  private Path capture() {
    return temp.resolve("guest");
  }

  @BeforeEach
  void captureAGuest() throws Exception {
    try (QemuProcess source = QemuProcess.builder().boot(WRITER).start();
        Cli capture = Cli.start("qemu-capture", "--listen=0", capture().toString())) {
      source.commands().setCapabilities(Map.of("return-path", true)).block(PATIENCE);
      source.awaitBooted();
      String uri =
          "tcp:" + capture.awaitLine("waiting for QEMU: migrate tcp:(\\S+:\\d+)$").group(1);
      source.commands().migrate(uri).block(PATIENCE);
      assertThat(capture.result().exitCode()).isZero();
      capturedGeneration = WRITER.generation(source.pmemsave(WRITER));
    }
  }

  private static QemuProcess destination() {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start();
    qemu.commands().setCapability("postcopy-ram", true).block(PATIENCE);
    qemu.commands().migrateIncoming("unix:" + qemu.directory().resolve("in")).block(PATIENCE);
    return qemu;
  }

  private static void await(QemuProcess qemu, Predicate<MigrateStatus> condition) {
    Objects.requireNonNull(
        Mono.defer(qemu.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(condition)
            .blockFirst(PATIENCE));
  }

  private void assertGoesOn(QemuProcess qemu) {
    await(qemu, MigrateStatus::isCompleted);
    qemu.awaitPasses(2);
    qemu.commands().stop().block(PATIENCE);
    byte[] now = qemu.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(capturedGeneration);
  }

  @Test
  void aCapturedGuestRunsAtOnce() throws Exception {
    Path report = temp.resolve("report.json");
    try (QemuProcess qemu = destination();
        Cli resume =
            Cli.start(
                "qemu-resume",
                capture().toString(),
                "--connect=unix:" + qemu.directory().resolve("in"),
                "--background-limit=4m",
                "--json=" + report)) {
      qemu.awaitPasses(1);
      Cli.Result result = resume.result();
      assertThat(result.exitCode()).as("%s", result).isZero();
      assertThat(result.stdout()).contains("complete  ", "faults  ", "(median)");
      JsonNode json = new ObjectMapper().readTree(report.toFile());
      assertThat(json.path("status").asText()).isEqualTo("completed");
      assertThat(json.path("postcopy-requests").asLong()).isGreaterThan(WRITER.pages() / 4);
      assertThat(json.path("service-us").path("median").asDouble()).isPositive();
      assertThat(json.path("zero-pages").asLong() + json.path("whole-pages").asLong())
          .isEqualTo(json.path("pages").asLong());
      assertGoesOn(qemu);
    }
  }

  @Test
  void aKilledResumeIsTakenUpByAnother() throws Exception {
    try (QemuProcess qemu = destination()) {
      Path again = qemu.directory().resolve("again");
      try (Cli resume =
          Cli.start(
              "qemu-resume",
              capture().toString(),
              "--connect=unix:" + qemu.directory().resolve("in"),
              "--background-limit=1m")) {
        qemu.awaitPasses(1);
        resume.signal("KILL");
        await(qemu, status -> status.status().equals("postcopy-paused"));
      }
      qemu.qmp().execute("migrate-recover", Map.of("uri", "unix:" + again)).block(PATIENCE);
      Cli.Result result =
          Cli.run("qemu-resume", capture().toString(), "--connect=unix:" + again, "--recover");
      assertThat(result.exitCode()).as("%s", result).isZero();
      assertThat(result.stdout()).contains("recovered 1 times");
      assertThat(result.err()).contains("recovered the guest goes on");
      assertGoesOn(qemu);
    }
  }

  @Test
  void withoutACaptureNothingHappens() throws Exception {
    Cli.call("qemu-resume", temp.toString(), "--connect=1").isFailure(1, "capture.json");
  }
}
