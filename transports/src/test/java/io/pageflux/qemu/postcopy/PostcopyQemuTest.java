package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresPostcopy;
import io.pageflux.transport.tcp.LeakCheck;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Objects;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** A captured guest is resumed lazily in a real QEMU. */
@RequiresPostcopy
@ExtendWith(LeakCheck.class)
class PostcopyQemuTest {

  private static final BootSector WRITER = BootSector.upToMiB(9);
  private static final int RAM_BYTES = 32 << 20;

  /** Where RAM is nothing but RAM: below the VGA, and above 1 MiB. */
  private static final int LOW_END = 0xa0000;

  private static final int HIGH_START = 1 << 20;

  /** So slow that a guest gets little of what it needs but by asking. */
  private static final long SLOW = 1 << 20;

  @TempDir private static Path temp = Path.of("");

  private static Path capture() {
    return temp.resolve("capture");
  }

  @BeforeAll
  static void captureAGuest() {
    try (QemuProcess source = QemuProcess.builder().boot(WRITER).start()) {
      source.commands().setCapability("return-path", true).block(PATIENCE);
      source.awaitBooted();
      Captures.capture(source, capture());
    }
  }

  private static byte[] image() throws IOException {
    return Files.readAllBytes(capture().resolve("pc.ram"));
  }

  private static long capturedGeneration() throws IOException {
    return WRITER.generation(Arrays.copyOfRange(image(), WRITER.firstByte(), WRITER.endByte()));
  }

  private static QemuProcess.Builder machine() {
    return QemuProcess.builder().boot(WRITER);
  }

  private static PostcopySpec spec() {
    return PostcopySpec.of(capture());
  }

  private static void assertGoesOn(QemuProcess qemu) throws IOException {
    qemu.awaitPasses(2);
    qemu.commands().stop().block(PATIENCE);
    byte[] now = qemu.pmemsave(WRITER);
    WRITER.check(now);
    assertThat(WRITER.generation(now)).isGreaterThan(capturedGeneration());
  }

  @Test
  void aGuestRunsBeforeItsPagesAreThere() throws IOException {
    try (LazyDestination destination = new LazyDestination(machine())) {
      destination.resume(spec().withBackgroundBytesPerSecond(SLOW));
      destination.qemu().awaitPasses(1);
      PostcopyInfo early = Objects.requireNonNull(destination.last());
      assertThat(early.status()).isEqualTo(PostcopyStatus.ACTIVE);
      assertThat(early.pagesLeft()).isPositive();
      PostcopyInfo complete = destination.complete();
      // What it touches, it had to ask for.
      assertThat(complete.requests()).isGreaterThan(WRITER.pages() / 2);
      assertThat(complete.pagesLeft()).isZero();
      assertThat(complete.serviceTimes().count()).isEqualTo(complete.requests());
      assertThat(complete.zeroPages() + complete.wholePages()).isEqualTo(complete.pages());
      destination.awaitStatus("completed");
      assertGoesOn(destination.qemu());
    }
  }

  @Test
  void allOfTheRamArrives() throws IOException {
    try (LazyDestination destination = new LazyDestination(machine().with("-S"))) {
      PostcopyInfo complete = destination.resume(spec()).complete();
      destination.awaitStatus("completed");
      byte[] image = image();
      assertSame(destination.qemu(), image, 0, LOW_END);
      assertSame(destination.qemu(), image, HIGH_START, RAM_BYTES);
      assertThat(complete.zeroPages()).isGreaterThan(RAM_BYTES / 4096 / 2);
    }
  }

  private static void assertSame(QemuProcess qemu, byte[] image, int from, int to) {
    byte[] memory = qemu.pmemsave(from, to - from);
    int at = Arrays.mismatch(memory, 0, to - from, image, from, to);
    assertThat(at).as("the first byte that differs, from %#x on", from).isEqualTo(-1);
  }

  @Test
  void aLostConnectionIsRecovered() throws IOException {
    try (LazyDestination destination = new LazyDestination(machine())) {
      destination.cut(3, 2 << 20).resume(spec().withBackgroundBytesPerSecond(2 * SLOW));
      destination.recover();
      destination.recover();
      destination.recover();
      PostcopyInfo complete = destination.complete();
      assertThat(complete.recoveries()).isEqualTo(3);
      destination.awaitStatus("completed");
      assertGoesOn(destination.qemu());
    }
  }

  @Test
  void anotherProcessRecoversTheGuest() throws IOException {
    try (LazyDestination destination = new LazyDestination(machine())) {
      destination.resume(spec().withBackgroundBytesPerSecond(SLOW));
      destination.qemu().awaitPasses(1);
      destination.cancel();
      destination.recover();
      PostcopyInfo complete = destination.resume(spec().withRecovering(true)).complete();
      assertThat(complete.recoveries()).isEqualTo(1);
      assertThat(complete.zeroPages() + complete.wholePages()).isLessThan(complete.pages());
      destination.awaitStatus("completed");
      assertGoesOn(destination.qemu());
    }
  }

  @Test
  void withoutTheCapabilityNothingRuns() {
    try (LazyDestination destination = new LazyDestination(machine(), false)) {
      destination.resume(spec());
      assertThat(destination.failure())
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("postcopy-ram")
          .hasMessageContaining("runs nowhere");
    }
  }

  @Test
  void anotherMachineIsRefused() {
    try (LazyDestination destination = new LazyDestination(machine().machine("q35"))) {
      destination.resume(spec());
      assertThat(destination.failure())
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("runs nowhere");
    }
  }

  @Test
  void devicesThatDoNotFitAreNotRecoveredFor() {
    Path other = temp.resolve("other");
    try (QemuProcess source =
        machine().with("-chardev", "null,id=more", "-device", "isa-serial,chardev=more").start()) {
      source.commands().setCapability("return-path", true).block(PATIENCE);
      Captures.capture(source, other);
    }
    try (LazyDestination destination = new LazyDestination(machine())) {
      destination.resume(PostcopySpec.of(other));
      assertThat(destination.failure())
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("may be at the destination")
          .hasMessageContaining("postcopy-paused");
    }
  }
}
