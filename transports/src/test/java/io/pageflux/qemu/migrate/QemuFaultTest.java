package io.pageflux.qemu.migrate;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.qemu.qmp.QmpSpec;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.QmpProxy;
import io.pageflux.qemu.testing.QmpProxy.At;
import io.pageflux.qemu.testing.QmpProxy.Watcher;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import reactor.core.publisher.Mono;

/** A QEMU that does not answer any more, or whose QMP connection is lost, at either end. */
@RequiresQemu
class QemuFaultTest extends MigrationRig {

  private static void freeze(QemuProcess qemu) {
    signal(qemu, "STOP");
    try {
      Path stat = Path.of("/proc/" + qemu.process().pid() + "/stat");
      while (!Files.readString(stat).contains(") T ")) {
        Thread.onSpinWait();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void thaw(QemuProcess qemu) {
    signal(qemu, "CONT");
  }

  private static void signal(QemuProcess qemu, String signal) {
    try {
      new ProcessBuilder("kill", "-" + signal, Long.toString(qemu.process().pid()))
          .start()
          .waitFor();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private static QmpSpec direct(QemuProcess qemu) {
    return QmpSpec.of(qemu.qmpAddress());
  }

  /** Waits for nothing longer than a moment. */
  private static QmpSpec through(QmpProxy proxy) {
    return QmpSpec.of(proxy.address()).withTimeout(Duration.ofSeconds(1));
  }

  private static QemuMigrationSpec within(int seconds, QemuMigrationSpec spec) {
    return spec.withDeviceLimits(spec.maxDeviceStateBytes(), Duration.ofSeconds(seconds));
  }

  /** Something that happens once, at a command. */
  private static Watcher once(At at, String command, Runnable fault) {
    AtomicBoolean happened = new AtomicBoolean();
    return (when, name) -> {
      if (when == at && name.equals(command) && happened.compareAndSet(false, true)) {
        fault.run();
      }
    };
  }

  @Test
  void theSourceGoesOnIfTheDestinationIsFrozenInTheCopyAndMovesOnceItIsNot() {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      QemuMigrationSpec spec =
          QemuMigrationSpec.of(
                  direct(source), direct(destination).withTimeout(Duration.ofSeconds(1)))
              .withTuning(o -> o.withDowntimeLimit(Duration.ZERO).withMaxRounds(6));
      MigrationException e =
          failure(
              QemuMigration.of(spec)
                  .events(Mono.never())
                  .ofType(MigrationEvent.RoundCompleted.class)
                  .doOnNext(round -> freeze(destination))
                  .then());
      assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
      assertThat(e).hasMessageContaining(destination.qmpAddress());
      requireStayed(source);
      thaw(destination);
      move(spec(source, destination));
      requireMoved(source, destination);
    }
  }

  /** Its ROMs alone are longer than what a socket takes that nobody reads. */
  @Test
  void theSourceGoesOnIfTheDestinationIsFrozenWhenItIsToTakeTheDevices() throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination();
        QmpProxy proxy =
            new QmpProxy(
                destination, once(At.ANSWER, "migrate-incoming", () -> freeze(destination)))) {
      MigrationException e =
          failure(within(1, QemuMigrationSpec.of(direct(source), through(proxy))));
      assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
      assertThat(e).hasMessageContaining("did not take the devices' state");
      requireStayed(source);
    }
  }

  /** It gets the order to stop its guest, and freezes before or after it has followed it. */
  @ParameterizedTest
  @ValueSource(strings = {"stop", "migrate"})
  void aSourceThatIsFrozenForAWhileGoesOn(String command) throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      Watcher freezing = once(At.COMMAND, command, () -> freeze(source));
      AtomicInteger asked = new AtomicInteger();
      Watcher thawing =
          (at, name) -> {
            // The first is at the beginning, the second is not answered in time.
            if (at == At.COMMAND && name.equals("query-migrate") && asked.incrementAndGet() == 3) {
              thaw(source);
            }
          };
      try (QmpProxy proxy =
          new QmpProxy(
              source,
              (at, name) -> {
                freezing.passes(at, name);
                thawing.passes(at, name);
              })) {
        MigrationException e =
            failure(within(30, QemuMigrationSpec.of(through(proxy), direct(destination))));
        assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
        assertThat(asked).hasValueGreaterThanOrEqualTo(3);
        requireStayed(source);
      }
    }
  }

  @Test
  void aSourceThatStaysFrozenIsToBeLetGoOnByHand() throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination();
        QmpProxy proxy = new QmpProxy(source, once(At.COMMAND, "migrate", () -> freeze(source)))) {
      MigrationException e =
          failure(within(2, QemuMigrationSpec.of(through(proxy), direct(destination))));
      assertThat(e).hasMessageContaining("it stays paused").hasMessageContaining("does not answer");
      thaw(source);
      source.reconnectQmp();
      source.commands().cont().block(PATIENCE);
      source.awaitPasses(2);
    }
  }

  @Test
  void aGuestMovesThoughTheSourcesConnectionIsLostInTheCopy() throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination();
        QmpProxy proxy = new QmpProxy(source, (at, name) -> {})) {
      QemuMigration.of(QemuMigrationSpec.of(through(proxy), direct(destination)))
          .events(Mono.never())
          .doOnNext(
              event -> {
                if (event instanceof MigrationEvent.RoundCompleted) {
                  proxy.cut();
                }
              })
          .blockLast(PATIENCE);
      requireMoved(source, destination);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"stop", "migrate"})
  void theSourceGoesOnIfItsConnectionIsLostInTheHandOver(String command) throws Exception {
    try (QemuProcess source = startSource();
        QemuProcess destination = startDestination()) {
      QmpProxy[] made = new QmpProxy[1];
      try (QmpProxy proxy = new QmpProxy(source, once(At.ANSWER, command, () -> made[0].cut()))) {
        made[0] = proxy;
        MigrationException e = failure(QemuMigrationSpec.of(through(proxy), direct(destination)));
        assertThat(e.kind()).isEqualTo(Kind.TRANSPORT);
        requireStayed(source);
      }
      move(spec(source, destination));
      requireMoved(source, destination);
    }
  }
}
