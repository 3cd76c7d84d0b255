package io.pageflux.examples;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Mono;

/** The relays as processes of their own, between two QEMUs. */
@RequiresQemu
class QemuRelayEndToEndTest {

  private static final BootSector WRITER = BootSector.upToMiB(16).withDelay(2_000);
  private static final Map<String, Boolean> RETURN_PATH = Map.of("return-path", true);

  private static QemuProcess source(int bytesPerSecond) {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.awaitBooted();
    qemu.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
    limit(qemu, bytesPerSecond);
    return qemu;
  }

  private static void limit(QemuProcess qemu, int bytesPerSecond) {
    qemu.commands()
        .setParameters(Map.of("max-bandwidth", bytesPerSecond, "downtime-limit", 5_000))
        .block(PATIENCE);
  }

  private static QemuProcess destination() {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start();
    qemu.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
    qemu.commands().migrateIncoming("tcp:127.0.0.1:0").block(PATIENCE);
    return qemu;
  }

  private static String port(QemuProcess destination) {
    return Objects.requireNonNull(destination.commands().queryMigrate().block(PATIENCE))
        .info()
        .path("socket-address")
        .path(0)
        .path("port")
        .asText();
  }

  private static Cli relayDestination(String qemuPort, String... more) throws Exception {
    return start(more, "qemu-relay", "destination", "--listen=0", "--connect=" + qemuPort);
  }

  private static Cli relaySource(String relayAddress, String... more) throws Exception {
    return start(more, "qemu-relay", "source", "--listen=0", "--connect=" + relayAddress);
  }

  private static Cli start(String[] more, String... first) throws Exception {
    String[] all = java.util.Arrays.copyOf(first, first.length + more.length);
    System.arraycopy(more, 0, all, first.length, more.length);
    return Cli.start(all);
  }

  private static String address(Cli relay) throws InterruptedException {
    return relay.awaitLine("waiting for .*?(\\S+:\\d+)$").group(1);
  }

  private static String uri(Cli relay) throws InterruptedException {
    return "tcp:" + address(relay).replace("tcp:", "");
  }

  private static MigrateStatus await(QemuProcess source, Predicate<MigrateStatus> condition) {
    return Objects.requireNonNull(
        Mono.defer(source.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(condition)
            .blockFirst(PATIENCE));
  }

  private static void assertGoesOn(QemuProcess source, QemuProcess destination) {
    byte[] left = source.pmemsave(WRITER);
    destination.awaitPasses(2);
    destination.commands().stop().block(PATIENCE);
    byte[] now = destination.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(WRITER.generation(left));
  }

  @Test
  void aGuestMovesThroughTwoProcesses() throws Exception {
    try (QemuProcess source = source(20 << 20);
        QemuProcess destination = destination();
        Cli there = relayDestination(port(destination), "--once");
        Cli here = relaySource(address(there), "--once")) {
      source.commands().migrate(uri(here)).block(PATIENCE);
      assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
      assertGoesOn(source, destination);
      assertThat(here.result().exitCode()).isZero();
      assertThat(there.result().exitCode()).isZero();
      assertThat(here.result().stdout()).contains("complete  ");
    }
  }

  @Test
  void aGuestMovesThroughUnixSocketsOnly() throws Exception {
    try (QemuProcess source = source(20 << 20);
        QemuProcess destination =
            QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start()) {
      String incoming = "unix:" + destination.directory().resolve("in");
      String relay = "unix:" + destination.directory().resolve("relay");
      String outgoing = "unix:" + source.directory().resolve("out");
      destination.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      destination.commands().migrateIncoming(incoming).block(PATIENCE);
      try (Cli there =
              Cli.start(
                  "qemu-relay",
                  "destination",
                  "--listen=" + relay,
                  "--connect=" + incoming,
                  "--once");
          Cli here =
              Cli.start(
                  "qemu-relay", "source", "--listen=" + outgoing, "--connect=" + relay, "--once")) {
        there.awaitLine("waiting for the source's relay: " + relay);
        here.awaitLine("waiting for QEMU: migrate " + outgoing);
        source.commands().migrate(outgoing).block(PATIENCE);
        assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
        assertGoesOn(source, destination);
        assertThat(here.result().exitCode()).isZero();
        assertThat(there.result().exitCode()).isZero();
        assertThat(source.directory().resolve("out")).doesNotExist();
        assertThat(destination.directory().resolve("relay")).doesNotExist();
      }
    }
  }

  @Test
  void whenARelayIsKilledTheSourceGoesOnAndAnotherAttemptSucceeds() throws Exception {
    try (QemuProcess source = source(2 << 20)) {
      for (boolean killSource : new boolean[] {true, false}) {
        try (QemuProcess destination = destination();
            Cli there = relayDestination(port(destination));
            Cli here = relaySource(address(there))) {
          source.commands().migrate(uri(here)).block(PATIENCE);
          await(source, s -> s.info().path("ram").path("transferred").asLong() > 2 << 20);
          (killSource ? here : there).signal("KILL");
          assertThat(await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
          assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
        }
      }
      limit(source, 100 << 20);
      try (QemuProcess destination = destination();
          Cli there = relayDestination(port(destination));
          Cli here = relaySource(address(there))) {
        source.commands().migrate(uri(here)).block(PATIENCE);
        assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
        assertGoesOn(source, destination);
      }
    }
  }

  @Test
  void anInterruptedRelayLeavesTheGuestAtTheSource() throws Exception {
    try (QemuProcess source = source(2 << 20);
        QemuProcess destination = destination();
        Cli there = relayDestination(port(destination), "--once");
        Cli here = relaySource(address(there))) {
      source.commands().migrate(uri(here)).block(PATIENCE);
      await(source, s -> s.info().path("ram").path("transferred").asLong() > 2 << 20);
      here.signal("INT");
      assertThat(here.result().exitCode()).isEqualTo(130);
      there.result().isFailure(1, "the relay was stopped");
      assertThat(await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  @Test
  void whoeverIsNoQemuIsTurnedAwayAndTheRealOneMovesItsGuest() throws Exception {
    try (QemuProcess source = source(20 << 20);
        QemuProcess destination = destination();
        Cli there = relayDestination(port(destination), "--once");
        Cli here = relaySource(address(there), "--once")) {
      String uri = uri(here);
      Socket silent = connect(uri);
      say(uri, "GET / HTTP/1.1\r\n\r\n");
      source.commands().migrate(uri).block(PATIENCE);
      assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
      assertGoesOn(source, destination);
      assertThat(here.result().exitCode()).isZero();
      assertThat(there.result().exitCode()).isZero();
      assertThat(String.join("\n", here.result().messages()))
          .contains("turned away: its first bytes are not 'QEVM'")
          .contains("127.0.0.1:" + silent.getLocalPort() + " was turned away: it said nothing");
      silent.close();
    }
  }

  @Test
  void whoeverIsNoRelayIsTurnedAwayAndTheRealOneMovesItsGuest(@TempDir Path folder)
      throws Exception {
    Path image = Files.write(folder.resolve("image"), new byte[8192]);
    try (QemuProcess source = source(100 << 20);
        QemuProcess destination = destination();
        Cli there = relayDestination(port(destination), "--once")) {
      String address = address(there);
      say(address, "GET / HTTP/1.1\r\n\r\n");
      Cli.call("send", "--connect=" + address, "--memory=" + image)
          .isFailure(1, "lacks what", "RELAY");
      try (Cli here = relaySource(address, "--once")) {
        source.commands().migrate(uri(here)).block(PATIENCE);
        assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
        assertGoesOn(source, destination);
        assertThat(here.result().exitCode()).isZero();
      }
      assertThat(there.result().exitCode()).isZero();
      assertThat(String.join("\n", there.result().messages()))
          .contains("turned away: the peer does not speak Pageflux", "GET /")
          .contains("lacks what", "RELAY");
    }
  }

  @Test
  void withoutADestinationTheReasonIsGiven() throws Exception {
    try (QemuProcess source = source(100 << 20);
        Cli here = relaySource("1", "--once")) {
      source.commands().migrate(uri(here)).block(PATIENCE);
      assertThat(await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      here.result().isFailure(1, "127.0.0.1:1", "refused");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  private static Socket connect(String address) throws Exception {
    String[] parts = address.replace("tcp:", "").split(":");
    SocketAddress to = new InetSocketAddress(parts[0], Integer.parseInt(parts[1]));
    Socket socket = new Socket();
    socket.connect(to, 10_000);
    return socket;
  }

  private static void say(String address, String text) throws Exception {
    try (Socket socket = connect(address)) {
      socket.getOutputStream().write(text.getBytes(StandardCharsets.US_ASCII));
      socket.getOutputStream().flush();
      while (socket.getInputStream().read() >= 0) {
        continue; // until the relay has heard it
      }
    } catch (java.net.SocketException e) {
      // It has been closed with something unread.
    }
  }
}
