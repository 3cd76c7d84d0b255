package io.pageflux.qemu.migrate;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import io.pageflux.MigrationException;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.qemu.qmp.QmpSpec;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Mono;

/** QEMUs whose memory is in files, a guest that keeps writing, and what must hold of it. */
abstract class MigrationRig {

  static final int RAM_MIB = 32;

  /** Slow enough that some pages are clean at the end of a round. */
  static final BootSector WRITER = BootSector.upToMiB(24).withDelay(20_000);

  @TempDir Path directory;

  final QemuProcess.Builder qemu(String name) {
    return QemuProcess.builder().ramMiB(RAM_MIB).boot(WRITER).sharedMemory(directory.resolve(name));
  }

  final QemuProcess startSource() {
    QemuProcess source = qemu("source.ram").start();
    source.awaitBooted();
    source.releaseQmp();
    return source;
  }

  final QemuProcess.Builder destination() {
    return qemu("destination.ram").with("-incoming", "defer");
  }

  final QemuProcess startDestination() {
    return released(destination());
  }

  static QemuProcess released(QemuProcess.Builder builder) {
    QemuProcess started = builder.start();
    started.releaseQmp();
    return started;
  }

  static QemuMigrationSpec spec(QemuProcess source, QemuProcess destination) {
    return QemuMigrationSpec.of(
        QmpSpec.of(source.qmpAddress()), QmpSpec.of(destination.qmpAddress()));
  }

  static MigrationInfo move(QemuMigrationSpec spec) {
    return Objects.requireNonNull(QemuMigration.of(spec).run().block(PATIENCE));
  }

  static MigrationException failure(QemuMigrationSpec spec) {
    return failure(QemuMigration.of(spec).run());
  }

  static MigrationException failure(Mono<?> migration) {
    MigrationException e =
        catchThrowableOfType(MigrationException.class, () -> migration.block(PATIENCE));
    assertThat(e).as("the migration fails").isNotNull();
    return e;
  }

  /** The guest writes at the destination, on from where it was, and does not at the source. */
  static void requireMoved(QemuProcess source, QemuProcess destination) {
    source.reconnectQmp();
    destination.reconnectQmp();
    assertThat(source.commands().queryStatus().block(PATIENCE)).isEqualTo("postmigrate");
    assertThat(destination.commands().queryStatus().block(PATIENCE)).isEqualTo("running");
    byte[] left = source.pmemsave(WRITER);
    WRITER.check(left);
    destination.awaitPasses(2);
    destination.commands().stop().block(PATIENCE);
    byte[] now = destination.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(WRITER.generation(left));
    assertThat(source.commands().queryCapabilities().block(PATIENCE))
        .containsEntry("x-ignore-shared", false)
        .containsEntry("events", false);
  }

  /** The guest goes on at the source, its memory is right, and the settings are as they were. */
  static void requireStayed(QemuProcess source) {
    source.reconnectQmp();
    assertThat(source.commands().queryStatus().block(PATIENCE)).isEqualTo("running");
    source.awaitPasses(2);
    source.commands().stop().block(PATIENCE);
    WRITER.check(source.pmemsave(WRITER));
    source.commands().cont().block(PATIENCE);
    assertThat(source.commands().queryCapabilities().block(PATIENCE))
        .containsEntry("x-ignore-shared", false)
        .containsEntry("events", false);
    assertThat(
            source
                .qmp()
                .execute("query-migrate-parameters")
                .map(p -> p.path("max-bandwidth"))
                .block(PATIENCE))
        .hasToString("134217728");
    source.releaseQmp();
  }

  /** So many rounds that somebody else can do something meanwhile. */
  static QemuMigrationSpec slowly(QemuMigrationSpec spec) {
    return spec.withTuning(
        outgoing -> outgoing.withDowntimeLimit(Duration.ZERO).withMaxRounds(1000));
  }
}
