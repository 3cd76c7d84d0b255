package io.pageflux.qemu.migrate;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.qemu.qmp.QmpSpec;
import io.pageflux.qemu.testing.LinuxGuest;
import io.pageflux.qemu.testing.LinuxGuest.Settings;
import io.pageflux.qemu.testing.RequiresLinuxGuest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@RequiresLinuxGuest
class LinuxGuestMigrationTest {

  private static final Duration PATIENCE = Duration.ofMinutes(2);

  /** How often it moves; another number by {@code -Dpageflux.linux.moves=N}. */
  private static final int MOVES = Integer.getInteger("pageflux.linux.moves", 10);

  @TempDir private Path directory;

  private LinuxGuest start(String name, Settings settings, String... more) throws IOException {
    Path here = Files.createDirectory(directory.resolve(name));
    String memory =
        "memory-backend-file,id=ram,share=on,size=%dM,mem-path=%s"
            .formatted(settings.memoryMib(), directory.resolve(name + ".ram"));
    List<String> options =
        new ArrayList<>(List.of("-object", memory, "-machine", "pc,memory-backend=ram"));
    options.addAll(List.of(more));
    return new LinuxGuest(here, settings, options.toArray(String[]::new));
  }

  @Test
  void aLinuxGuestThatRewritesItsMemoryMovesFromQemuToQemu() throws Exception {
    Settings settings = Settings.small(20);
    LinuxGuest guest = start("0", settings);
    try {
      guest.awaitReady();
      guest.awaitRound();
      for (int move = 1; move <= MOVES; move++) {
        LinuxGuest from = guest;
        try (from) {
          guest = start(Integer.toString(move), settings, "-incoming", "defer");
          move(from, guest);
        }
        Files.delete(directory.resolve((move - 1) + ".ram"));
      }
    } finally {
      guest.close();
    }
  }

  private static void move(LinuxGuest from, LinuxGuest to) throws InterruptedException {
    MigrationInfo info =
        Objects.requireNonNull(
            QemuMigration.of(QemuMigrationSpec.of(qmp(from), qmp(to))).run().block(PATIENCE));
    assertThat(info.status()).isEqualTo(MigrationStatus.COMPLETED);
    to.awaitRound();
    assertThat(from.badLines()).isEmpty();
    int last = from.heartbeat().number(from.heartbeat().count() - 1);
    assertThat(to.heartbeat().number(0)).isEqualTo((last + 1) % 256);
  }

  private static QmpSpec qmp(LinuxGuest guest) {
    return QmpSpec.of("unix:" + guest.qmpSocket());
  }
}
