package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@RequiresQemu
class QemuMigrateEndToEndTest {

  private static final BootSector WRITER = BootSector.upToMiB(24).withDelay(20_000);

  @TempDir private Path folder;

  private QemuProcess start(String name, String... more) {
    QemuProcess qemu =
        QemuProcess.builder().boot(WRITER).sharedMemory(folder.resolve(name)).with(more).start();
    qemu.releaseQmp();
    return qemu;
  }

  private QemuProcess startSource() {
    QemuProcess source = start("source");
    source.awaitBooted();
    return source;
  }

  private static Cli migrate(QemuProcess source, QemuProcess destination, String... more)
      throws IOException {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "qemu-migrate",
                "--source-qmp=" + source.qmpAddress(),
                "--destination-qmp=" + destination.qmpAddress()));
    arguments.addAll(List.of(more));
    return Cli.start(arguments.toArray(String[]::new));
  }

  private static void requireGoesOn(QemuProcess qemu) {
    qemu.reconnectQmp();
    assertThat(qemu.commands().queryStatus().block()).isEqualTo("running");
    qemu.awaitPasses(2);
    qemu.commands().stop().block();
    WRITER.check(qemu.pmemsave(WRITER));
    qemu.commands().cont().block();
    qemu.releaseQmp();
  }

  @Test
  void aGuestThatKeepsWritingMovesAndGoesOn() throws Exception {
    Path report = folder.resolve("report.json");
    try (QemuProcess source = startSource();
        QemuProcess destination = start("destination", "-incoming", "defer");
        Cli command = migrate(source, destination, "--json=" + report)) {
      Cli.Result result = command.result();
      assertThat(result.exitCode()).as("%s", result).isZero();
      assertThat(result.stdout()).contains("the guest runs at " + destination.qmpAddress());
      JsonNode json = new ObjectMapper().readTree(Files.readString(report));
      assertThat(json.path("status").asText()).isEqualTo("completed");
      assertThat(json.path("ram").path("total").asLong()).isEqualTo(32 << 20);
      requireGoesOn(destination);
    }
  }

  @Test
  void interruptedTheGuestGoesOnAtTheSourceAndASecondAttemptSucceeds() throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = start("destination", "-incoming", "defer")) {
      try (Cli command =
          migrate(source, destination, "--downtime-limit=0ms", "--max-rounds=1000000")) {
        // Its own stream shows nothing yet: that it is under way, the settings of QEMU tell.
        awaitMemory(folder.resolve("destination"));
        command.signal("INT");
        command.result().isFailure(130, "interrupted", "the guest goes on at the source");
        requireGoesOn(source);
      }
      try (Cli command = migrate(source, destination, "--compress=zstd:1", "--xbzrle-cache=16m")) {
        assertThat(command.result().exitCode()).isZero();
        requireGoesOn(destination);
      }
    }
  }

  /** Waits until the first pages have arrived in the destination's memory. */
  private static void awaitMemory(Path file) throws IOException {
    try (var memory = java.nio.channels.FileChannel.open(file)) {
      var word = java.nio.ByteBuffer.allocate(4);
      do {
        word.clear();
        memory.read(word, 20L << 20);
      } while (word.order(java.nio.ByteOrder.LITTLE_ENDIAN).getInt(0) == 0);
    }
  }

  @Test
  void whatDoesNotFitIsSaidInOneLine() throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess other = start("destination")) {
      try (Cli command = migrate(source, other)) {
        command.result().isFailure(1, other.qmpAddress(), "-incoming defer");
      }
      try (Cli command = migrate(source, source)) {
        command.result().isFailure(1, "the same QEMU");
      }
      requireGoesOn(source);
    }
    Cli.run("qemu-migrate", "--source-qmp=unix:/tmp/no-such-qmp", "--destination-qmp=localhost:1")
        .isFailure(1, "unix:/tmp/no-such-qmp", "no such socket");
    Cli.run("qemu-migrate", "--source-qmp=nonsense", "--destination-qmp=localhost:1")
        .isFailure(2, "--source-qmp", "unix:PATH or HOST:PORT");
  }
}
