package io.pageflux.qemu.relay;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.SocketException;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

/** Two QEMUs, two relays, and a guest that writes all the time. */
@RequiresQemu
class RelayQemuTest {

  private static final Map<String, Boolean> RETURN_PATH = Map.of("return-path", true);
  private static final BootSector WRITER = BootSector.upToMiB(16).withDelay(2_000);

  private static QemuProcess source() {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.awaitBooted();
    return qemu;
  }

  private static QemuProcess destination() {
    return QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start();
  }

  /** All that the guest has is dirty all the time, so QEMU has to be content with any downtime. */
  private static void limit(QemuProcess source, int bytesPerSecond) {
    source
        .commands()
        .setParameters(Map.of("max-bandwidth", bytesPerSecond, "downtime-limit", 5_000))
        .block(PATIENCE);
  }

  private static MigrateStatus migrate(QemuProcess source, String uri) {
    source.commands().migrate(uri).block(PATIENCE);
    return ended(source);
  }

  private static MigrateStatus ended(QemuProcess source) {
    return awaitStatus(source, MigrateStatus::isEnded);
  }

  private static MigrateStatus awaitStatus(QemuProcess source, Predicate<MigrateStatus> condition) {
    return Objects.requireNonNull(
        Mono.defer(source.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(condition)
            .blockFirst(PATIENCE));
  }

  /** The guest runs at the destination, from where it was stopped. */
  private static void assertGoesOn(QemuProcess source, QemuProcess destination) {
    byte[] left = source.pmemsave(WRITER);
    WRITER.check(left);
    destination.awaitPasses(2);
    destination.commands().stop().block(PATIENCE);
    byte[] now = destination.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(WRITER.generation(left));
  }

  private static void assertMoves(RelaySpec spec, Map<String, Boolean> capabilities) {
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      source.commands().setCapabilities(capabilities).block(PATIENCE);
      limit(source, 10 << 20);
      try (RelayPair relays = new RelayPair(spec, RelayPair.await(destination, capabilities))) {
        assertThat(migrate(source, relays.uri()).toString()).isEqualTo("completed");
        assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
        assertThat(RelayPair.failure(relays.destinationEnd())).isNull();
        RelayInfo info = relays.sourceEnd().join();
        assertThat(info.complete()).isTrue();
        assertThat(info.zeroPages()).isPositive();
        if (spec.xbzrle() != null && !capabilities.getOrDefault("xbzrle", false)) {
          assertThat(info.deltaPages() + info.unchangedPages()).isPositive();
        }
      }
      assertGoesOn(source, destination);
    }
  }

  @Test
  void aWritingGuestMovesThroughTheRelays() {
    assertMoves(RelaySpec.DEFAULT, RETURN_PATH);
  }

  @Test
  void withoutAReturnPathToo() {
    assertMoves(RelaySpec.DEFAULT, Map.of("return-path", false));
  }

  @Test
  void neitherDeltasNorCompressionAreNeeded() {
    assertMoves(RelaySpec.DEFAULT.withCompression(null).withXbzrle(null), RETURN_PATH);
  }

  @Test
  void deltasThatQemuMakesItselfPassThrough() {
    assertMoves(
        RelaySpec.DEFAULT.withCompression(new CompressionSpec(3, 1)),
        Map.of("return-path", true, "xbzrle", true));
  }

  @Test
  void asManyMigrationsAsOneLikesPassOneAfterTheOther() {
    try (QemuProcess source = source()) {
      source.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      limit(source, 100 << 20);
      for (int i = 0; i < 5; i++) {
        try (QemuProcess destination = destination();
            RelayPair relays =
                new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, RETURN_PATH))) {
          assertThat(migrate(source, relays.uri()).toString()).isEqualTo("completed");
          assertGoesOn(source, destination);
          source.commands().cont().block(PATIENCE); // for the next one
        }
      }
    }
  }

  /** What may happen in the middle of a migration. */
  private interface Accident {
    void happen(RelayPair relays, QemuProcess destination);
  }

  private static void assertTheSourceGoesOn(Accident accident) throws Exception {
    Random random = new Random(7);
    try (QemuProcess source = source()) {
      source.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      // What it has takes more than a second, which is too much.
      source
          .commands()
          .setParameters(Map.of("max-bandwidth", 12 << 20, "downtime-limit", 300))
          .block(PATIENCE);
      for (int i = 0; i < 4; i++) {
        long enough = random.nextInt(1, 5 << 20);
        try (QemuProcess destination = destination();
            RelayPair relays =
                new RelayPair(
                    RelaySpec.DEFAULT.withProgressInterval(Duration.ofMillis(1)),
                    RelayPair.await(destination, RETURN_PATH))) {
          source.commands().migrate(relays.uri()).block(PATIENCE);
          awaitTransferred(source, enough);
          accident.happen(relays, destination);
          assertThat(ended(source).status()).as("after %d bytes", enough).isEqualTo("failed");
          assertThat(RelayPair.failure(relays.sourceEnd()))
              .satisfiesAnyOf(
                  e -> assertThat(e).isInstanceOf(MigrationException.class),
                  e -> assertThat(e).isInstanceOf(java.util.NoSuchElementException.class));
        }
        assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
        source.awaitPasses(1);
      }
      // And a further attempt succeeds.
      limit(source, 100 << 20);
      try (QemuProcess destination = destination();
          RelayPair relays =
              new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, RETURN_PATH))) {
        assertThat(migrate(source, relays.uri()).toString()).isEqualTo("completed");
        assertGoesOn(source, destination);
      }
    }
  }

  private static void awaitTransferred(QemuProcess source, long bytes) {
    awaitStatus(source, status -> status.info().path("ram").path("transferred").asLong() >= bytes);
  }

  @Test
  void whenTheConnectionBetweenTheRelaysIsCutTheSourceGoesOn() throws Exception {
    assertTheSourceGoesOn((relays, destination) -> relays.cut());
  }

  @Test
  void whenTheSourcesRelayEndsTheSourceGoesOn() throws Exception {
    assertTheSourceGoesOn(
        (relays, destination) -> {
          relays.stopSource();
          relays.sourceEnd().completeExceptionally(new java.util.NoSuchElementException());
        });
  }

  @Test
  void whenTheDestinationsRelayEndsTheSourceGoesOn() throws Exception {
    assertTheSourceGoesOn((relays, destination) -> relays.stopDestination());
  }

  @Test
  void whenTheDestinationsQemuIsKilledTheSourceGoesOn() throws Exception {
    assertTheSourceGoesOn((relays, destination) -> destination.kill());
  }

  /**
   * QEMU 7.2 prints what it was told. Its query-migrate has no reason, or that it could not write
   * to the connection, which it closes then.
   */
  @Test
  void theSourceIsToldThatTheMigrationHasFailed() {
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      source.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      // So little downtime that it does not end by itself.
      source
          .commands()
          .setParameters(Map.of("max-bandwidth", 3 << 20, "downtime-limit", 1))
          .block(PATIENCE);
      try (RelayPair relays =
          new RelayPair(
              RelaySpec.DEFAULT.withProgressInterval(Duration.ofMillis(1)),
              RelayPair.await(destination, RETURN_PATH))) {
        source.commands().migrate(relays.uri()).block(PATIENCE);
        // What QEMU has transferred may wait for the relay, which has to know that QEMU listens.
        Mono.fromCallable(relays::qemuBytes)
            .repeatWhen(read -> read.delayElements(Duration.ofMillis(5)))
            .filter(bytes -> bytes > 1 << 20)
            .blockFirst(PATIENCE);
        relays.cut();
        MigrateStatus end = ended(source);
        assertThat(end.status()).isEqualTo("failed");
        awaitError(source, "Sibling indicated error 1");
      }
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  private static void awaitError(QemuProcess qemu, String text) {
    Mono.fromCallable(qemu::errors)
        .repeatWhen(read -> read.delayElements(Duration.ofMillis(5)))
        .filter(errors -> errors.contains(text))
        .blockFirst(PATIENCE);
  }

  @Test
  void aCancelledMigrationEndsEverywhere() throws Exception {
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      source.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      limit(source, 2 << 20);
      try (RelayPair relays =
          new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, RETURN_PATH))) {
        source.commands().migrate(relays.uri()).block(PATIENCE);
        awaitTransferred(source, 1 << 20);
        source.commands().migrateCancel().block(PATIENCE);
        assertThat(ended(source).status()).isEqualTo("cancelled");
        assertThat(RelayPair.failure(relays.sourceEnd()))
            .hasMessageContaining("ended")
            .isInstanceOf(MigrationException.class);
        assertThat(RelayPair.failure(relays.destinationEnd()))
            .hasMessageContaining("the peer reports");
        assertThat(destination.process().waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS)).isTrue();
      }
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  @Test
  void multifdIsRefusedAndTheReasonGiven() {
    Map<String, Boolean> multifd = Map.of("multifd", true, "return-path", true);
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      source.commands().setCapabilities(multifd).block(PATIENCE);
      limit(source, 100 << 20);
      try (RelayPair relays =
          new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, multifd))) {
        assertThat(migrate(source, relays.uri()).status()).isEqualTo("failed");
        assertThat(RelayPair.failure(relays.sourceEnd())).hasMessageContaining("multifd");
      }
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  @Test
  void whoIsNoQemuDoesNotUseUpTheDestination() throws Exception {
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      source.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      limit(source, 100 << 20);
      try (RelayPair relays =
              new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, RETURN_PATH));
          Socket silent = new Socket(InetAddress.getLoopbackAddress(), relays.port());
          Socket browser = new Socket(InetAddress.getLoopbackAddress(), relays.port())) {
        browser.getOutputStream().write("GET / HTTP/1.1\r\n\r\n".getBytes(US_ASCII));
        assertThat(endOf(browser)).isTrue();
        assertThat(relays.isConnected()).isFalse();
        assertThat(migrate(source, relays.uri()).toString()).isEqualTo("completed");
        assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
        assertThat(endOf(silent)).isTrue();
        assertThat(relays.strays()).hasSize(2);
      }
      assertGoesOn(source, destination);
    }
  }

  /** Waits until it is closed. */
  private static boolean endOf(Socket socket) throws IOException {
    socket.setSoTimeout((int) PATIENCE.toMillis());
    try {
      return socket.getInputStream().read() < 0;
    } catch (SocketException e) {
      return true; // with something unread
    }
  }

  @Test
  void withoutADestinationTheSourceGoesOn() {
    try (QemuProcess source = source()) {
      try (RelayPair relays = new RelayPair(RelaySpec.DEFAULT, 1)) {
        assertThat(migrate(source, relays.uri()).status()).isEqualTo("failed");
        assertThat(RelayPair.failure(relays.sourceEnd()))
            .hasMessageContaining("the peer reports")
            .hasMessageContaining("127.0.0.1:1");
      }
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }
}
