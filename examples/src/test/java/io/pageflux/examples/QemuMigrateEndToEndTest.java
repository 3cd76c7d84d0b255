package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.QmpProxy;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
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
    return migrate(source, destination.qmpAddress(), more);
  }

  private static Cli migrate(QemuProcess source, String destination, String... more)
      throws IOException {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "qemu-migrate",
                "--source-qmp=" + source.qmpAddress(),
                "--destination-qmp=" + destination));
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

  private static Cli.Result qmp(QemuProcess qemu, String... command) throws Exception {
    List<String> arguments = new ArrayList<>(List.of("qmp", qemu.qmpAddress()));
    arguments.addAll(List.of(command));
    return Cli.call(arguments.toArray(String[]::new));
  }

  private static @Nullable String status(QemuProcess qemu) {
    qemu.reconnectQmp();
    String status = qemu.commands().queryStatus().block();
    qemu.releaseQmp();
    return status;
  }

  private static void requireDefaultSettings(QemuProcess qemu) {
    qemu.reconnectQmp();
    assertThat(qemu.commands().queryCapabilities().block())
        .containsEntry("x-ignore-shared", false)
        .containsEntry("events", false);
    JsonNode parameters =
        Objects.requireNonNull(qemu.qmp().execute("query-migrate-parameters").block());
    assertThat(parameters.path("max-bandwidth").asLong()).isEqualTo(128 << 20);
    qemu.releaseQmp();
  }

  @Test
  void killedInTheCopyItLeavesEverythingAsItWasAndASecondAttemptSucceeds() throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = start("destination", "-incoming", "defer")) {
      try (Cli command =
          migrate(source, destination, "--downtime-limit=0ms", "--max-rounds=1000000")) {
        awaitMemory(folder.resolve("destination"));
        command.signal("KILL");
        assertThat(command.result().exitCode()).isEqualTo(128 + 9);
      }
      requireGoesOn(source);
      requireDefaultSettings(source);
      try (Cli command = migrate(source, destination)) {
        assertThat(command.result().exitCode()).isZero();
        requireGoesOn(destination);
      }
    }
  }

  /** What is to be done then is what its help and the README say. */
  @Test
  void killedInTheHandOverTheGuestIsLetGoOnByHand() throws Exception {
    try (QemuProcess source = startSource()) {
      try (QemuProcess destination = start("destination", "-incoming", "defer")) {
        killAt(source, destination, "migrate-incoming");
        assertThat(status(source)).isEqualTo("postmigrate");
        assertThat(qmp(destination, "query-status").stdout()).contains("\"running\" : false");
        assertThat(qmp(destination, "quit").exitCode()).isZero();
        assertThat(qmp(source, "cont").exitCode()).isZero();
        requireGoesOn(source);
      }
      Files.delete(folder.resolve("destination"));
      try (QemuProcess destination = start("destination", "-incoming", "defer")) {
        killAt(source, destination, "cont");
        assertThat(status(source)).isEqualTo("postmigrate");
        requireGoesOn(destination);
      }
    }
  }

  /** Has the command killed when a QEMU has just answered it something. */
  private static void killAt(QemuProcess source, QemuProcess destination, String order)
      throws Exception {
    AtomicReference<Cli> started = new AtomicReference<>();
    try (QmpProxy proxy =
            new QmpProxy(
                destination,
                (at, name) -> {
                  if (at == QmpProxy.At.ANSWER && name.equals(order)) {
                    kill(started.get());
                  }
                });
        Cli command = migrate(source, proxy.address())) {
      started.set(command);
      assertThat(command.result().exitCode()).isEqualTo(128 + 9);
    }
  }

  private static void kill(Cli command) {
    try {
      command.signal("KILL");
      command.result();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void aMigrationIsControlledWhileItRuns() throws Exception {
    Path socket = folder.resolve("ctl");
    try (QemuProcess source = startSource();
        QemuProcess destination = start("destination", "-incoming", "defer");
        Cli command =
            migrate(source, destination, "--max-bandwidth=100k", "--control=unix:" + socket)) {
      String ctl = socket.toString();
      while (!Files.exists(socket) || !Cli.call("ctl", ctl, "query").stdout().contains("active")) {
        assertThat(ProcessHandle.of(command.pid())).isPresent();
      }
      Cli.Result set = Cli.call("ctl", ctl, "set", "max-bandwidth=0");
      assertThat(set.exitCode()).as("%s", set).isZero();
      Cli.Result result = command.result();
      assertThat(result.exitCode()).as("%s", result).isZero();
      requireGoesOn(destination);
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
    Cli.call("qemu-migrate", "--source-qmp=unix:/tmp/no-such-qmp", "--destination-qmp=localhost:1")
        .isFailure(1, "unix:/tmp/no-such-qmp", "no such socket");
    Cli.call("qemu-migrate", "--source-qmp=nonsense", "--destination-qmp=localhost:1")
        .isFailure(2, "--source-qmp", "unix:PATH or HOST:PORT");
  }
}
