package io.pageflux.qemu.testing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.qemu.testing.LinuxGuest.Settings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@RequiresLinuxGuest
class LinuxGuestTest {

  @Test
  void aGuestThatQemuMovesGoesOnWithItsMemoryIntact(@TempDir Path directory) throws Exception {
    Path here = Files.createDirectory(directory.resolve("s"));
    Path there = Files.createDirectory(directory.resolve("d"));
    String uri = "unix:" + directory.resolve("m");
    try (LinuxGuest source = new LinuxGuest(here, Settings.small(20));
        LinuxGuest destination = new LinuxGuest(there, Settings.small(20), "-incoming", uri)) {
      source.awaitReady();
      source.awaitRound();
      assertThat(destination.lines()).isEmpty();

      // In few passes: QEMU 7.2 without KVM loses track of pages when there are several.
      source.execute(
          "{'execute': 'migrate-set-parameters', 'arguments':"
              + " {'max-bandwidth': 100000000000, 'downtime-limit': 10000}}");
      source.execute("{'execute': 'migrate', 'arguments': {'uri': '" + uri + "'}}");

      destination.awaitRound();
      assertThat(source.badLines()).isEmpty();
      assertGoesOn(source.heartbeat(), destination.heartbeat());
    }
  }

  @Test
  void aSpoiltWordIsReported(@TempDir Path directory) throws Exception {
    Settings settings = new Settings(128, 16, 0, 0, 7, "pf.damage=1");
    try (LinuxGuest guest = new LinuxGuest(directory, settings)) {
      guest.awaitReady();
      assertThatThrownBy(
              () -> {
                while (true) {
                  guest.awaitRound();
                }
              })
          .isInstanceOf(AssertionError.class)
          .hasMessageContaining("PF BAD page=2048 word=100 gen=0");
      assertThat(guest.badLines()).isNotEmpty();
    }
  }

  @Test
  void aQemuThatDoesNotStartSaysWhy(@TempDir Path directory) {
    assertThatThrownBy(() -> new LinuxGuest(directory, Settings.small(0), "-no-such-option"))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("-no-such-option: invalid option");
  }

  /** The first beat at the destination is the one behind the last of the source. */
  private static void assertGoesOn(Heartbeat source, Heartbeat destination) {
    int last = source.number(source.count() - 1);
    assertThat(destination.number(0)).isEqualTo((last + 1) % 256);
    assertThat(source.downtime(destination)).isPositive();
  }
}
