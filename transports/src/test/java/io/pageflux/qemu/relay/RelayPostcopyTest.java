package io.pageflux.qemu.relay;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresPostcopy;
import io.pageflux.transport.tcp.LeakCheck;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.UnixSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Predicate;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;

/** A relayed guest goes over to post-copy. */
@RequiresPostcopy
@ExtendWith(LeakCheck.class)
class RelayPostcopyTest {

  private static final BootSector WRITER = BootSector.upToMiB(9);
  private static final Map<String, Boolean> CAPABILITIES =
      Map.of("return-path", true, "postcopy-ram", true, "events", true);

  private static QemuProcess source() {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.commands().setCapabilities(CAPABILITIES).block(PATIENCE);
    qemu.awaitBooted();
    return qemu;
  }

  private static QemuProcess destination() {
    return QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start();
  }

  private static void limit(QemuProcess source, long precopy, long postcopy) {
    source
        .commands()
        .setParameters(
            Map.of(
                "max-bandwidth", precopy, "max-postcopy-bandwidth", postcopy, "downtime-limit", 1))
        .block(PATIENCE);
  }

  private static MigrateStatus await(QemuProcess qemu, Predicate<MigrateStatus> condition) {
    AtomicReference<MigrateStatus> last = new AtomicReference<>();
    try {
      return Objects.requireNonNull(
          Mono.defer(qemu.commands()::queryMigrate)
              .doOnNext(last::set)
              .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
              .filter(condition)
              .blockFirst(PATIENCE));
    } catch (IllegalStateException e) {
      MigrateStatus status = last.get();
      throw new AssertionError(
          "the last status was %s; QEMU: %s"
              .formatted(status == null ? "none" : status.info(), qemu.errors()),
          e);
    }
  }

  private static void awaitPasses(QemuProcess source, int passes) {
    MigrateStatus there =
        await(
            source,
            status ->
                status.isEnded()
                    || status.info().path("ram").path("dirty-sync-count").asInt() > passes);
    assertThat(there.toString()).isEqualTo("active");
  }

  private static int requests(MigrateStatus status) {
    return status.info().path("ram").path("postcopy-requests").asInt();
  }

  private static void assertGoesOn(QemuProcess source, QemuProcess destination) {
    byte[] left = source.pmemsave(WRITER);
    WRITER.check(left);
    destination.awaitPasses(2);
    destination.commands().stop().block(PATIENCE);
    byte[] now = destination.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(WRITER.generation(left));
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 2})
  void aGuestThatIsOnItsWayRunsAtTheDestinationAtOnce(int passes) {
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      // All that the guest has is dirty all the time: pre-copy alone would never end.
      limit(source, 20 << 20, 8 << 20);
      try (RelayPair relays =
          new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, CAPABILITIES))) {
        source.commands().migrate(relays.uri()).block(PATIENCE);
        awaitPasses(source, passes);
        source.qmp().execute("migrate-start-postcopy").block(PATIENCE);
        MigrateStatus end = await(source, MigrateStatus::isEnded);
        assertThat(end.toString()).isEqualTo("completed");
        assertThat(requests(end)).isPositive();
        assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
        assertThat(RelayPair.failure(relays.destinationEnd())).isNull();
        if (passes > 0) {
          RelayInfo info = relays.sourceEnd().join();
          assertThat(info.deltaPages() + info.unchangedPages()).isPositive();
        }
      }
      assertGoesOn(source, destination);
    }
  }

  @Test
  void whenTheRelaysAreCutTheGuestIsRecoveredThroughOthers() {
    try (QemuProcess source = source();
        QemuProcess destination = destination()) {
      limit(source, 20 << 20, 1 << 20);
      try (RelayPair relays =
          new RelayPair(RelaySpec.DEFAULT, RelayPair.await(destination, CAPABILITIES))) {
        source.commands().migrate(relays.uri()).block(PATIENCE);
        awaitPasses(source, 1);
        source.qmp().execute("migrate-start-postcopy").block(PATIENCE);
        // The guest runs there and has only begun to fetch its pages. QEMU 7.2 would never hear of
        // a connection that is lost after its last page.
        MigrateStatus before = await(source, status -> requests(status) > 10);
        assertThat(before.toString()).isEqualTo("postcopy-active");
        relays.cut();
        await(source, status -> status.status().equals("postcopy-paused"));
        await(destination, status -> status.status().equals("postcopy-paused"));
      }
      String socket = destination.directory().resolve("again").toString();
      destination.qmp().execute("migrate-recover", Map.of("uri", "unix:" + socket)).block(PATIENCE);
      try (RelayPair relays =
          new RelayPair(
              RelaySpec.DEFAULT, SocketTransport.connector(UnixSpec.of(Path.of(socket))))) {
        limit(source, 0, 0);
        source
            .qmp()
            .execute("migrate", Map.of("uri", relays.uri(), "resume", true))
            .block(PATIENCE);
        assertThat(await(source, MigrateStatus::isEnded).toString()).isEqualTo("completed");
        assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
        assertThat(RelayPair.failure(relays.destinationEnd())).isNull();
      }
      assertGoesOn(source, destination);
    }
  }
}
