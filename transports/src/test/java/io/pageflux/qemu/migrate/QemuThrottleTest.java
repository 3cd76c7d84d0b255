package io.pageflux.qemu.migrate;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.migration.ProcessThrottle;
import io.pageflux.qemu.qmp.QmpSpec;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Sinks;

@RequiresQemu
class QemuThrottleTest {

  private static final BootSector WRITER = BootSector.upToMiB(24);

  @TempDir private Path directory;

  private QemuProcess start(String name, String... more) {
    return QemuProcess.builder()
        .ramMiB(32)
        .boot(WRITER)
        .sharedMemory(directory.resolve(name))
        .with(more)
        .start();
  }

  private static OutgoingSpec tooSlow(OutgoingSpec outgoing) {
    return outgoing
        .withMaxBandwidth(8 << 20)
        .withDowntimeLimit(Duration.ofMillis(1))
        .withPolicy(AutoConverge::new)
        .withAtLimit(AtLimit.SWITCH_OVER);
  }

  private static boolean isStopped(QemuProcess qemu) throws IOException {
    String stat = Files.readString(Path.of("/proc/" + qemu.process().pid() + "/stat"));
    return stat.charAt(stat.lastIndexOf(')') + 2) == 'T';
  }

  @Test
  void aGuestThatWritesTooFastIsThrottledMovesAndRunsUnthrottled() {
    try (QemuProcess source = start("source");
        QemuProcess destination = start("destination", "-incoming", "defer")) {
      source.awaitBooted();
      source.releaseQmp();
      destination.releaseQmp();
      MigrationInfo info =
          Objects.requireNonNull(
              QemuMigration.of(
                      QemuMigrationSpec.of(
                              QmpSpec.of(source.qmpAddress()), QmpSpec.of(destination.qmpAddress()))
                          .withTuning(o -> tooSlow(o).withTimeout(Duration.ofSeconds(12))))
                  .run()
                  .block(PATIENCE));
      assertThat(info.steps())
          .extracting(ConvergenceStep::kind)
          .contains(ConvergenceStep.Kind.THROTTLE, ConvergenceStep.Kind.THROTTLE_LIFTED)
          .doesNotContain(ConvergenceStep.Kind.THROTTLE_REFUSED);
      destination.reconnectQmp();
      destination.awaitPasses(2);
      destination.commands().stop().block(PATIENCE);
      WRITER.check(destination.pmemsave(WRITER));
    }
  }

  @Test
  void aGuestWhoseMigrationIsStoppedIsLetOffItsThrottle() throws IOException {
    try (QemuProcess source = start("source");
        QemuProcess destination = start("destination", "-incoming", "defer")) {
      source.awaitBooted();
      source.releaseQmp();
      destination.releaseQmp();
      Sinks.Empty<Void> stop = Sinks.empty();
      QemuMigration.of(
              QemuMigrationSpec.of(
                      QmpSpec.of(source.qmpAddress()), QmpSpec.of(destination.qmpAddress()))
                  .withTuning(QemuThrottleTest::tooSlow))
          .events(stop.asMono())
          .doOnNext(
              event -> {
                if (event
                        instanceof
                        io.pageflux.migration.MigrationEvent.Convergence(ConvergenceStep step)
                    && step.kind() == ConvergenceStep.Kind.THROTTLE) {
                  stop.tryEmitEmpty();
                }
              })
          .onErrorComplete()
          .blockLast(PATIENCE);
      assertThat(isStopped(source)).isFalse();
      source.reconnectQmp();
      source.awaitPasses(2);
    }
  }

  @Test
  void aProcessThatDoesNotHaveTheMemoryIsNoQemu() {
    try (QemuProcess source = start("source")) {
      source.awaitBooted();
      source.releaseQmp();
      QemuMonitor monitor =
          Objects.requireNonNull(
              QemuMonitor.connect(QmpSpec.of(source.qmpAddress())).block(PATIENCE));
      QemuRam own = new QemuRam("ram", 32 << 20, directory.resolve("source"));
      QemuRam other = new QemuRam("ram", 32 << 20, directory.resolve("other"));
      ProcessThrottle throttle = QemuThrottle.of(monitor, List.of(own)).block(PATIENCE);
      assertThat(throttle).isNotNull();
      assertThat(QemuThrottle.of(monitor, List.of(other)).block(PATIENCE)).isNull();
      monitor.close().block(PATIENCE);
    }
  }
}
