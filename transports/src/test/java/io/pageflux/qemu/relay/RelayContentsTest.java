package io.pageflux.qemu.relay;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.migration.CompressionSpec;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import reactor.core.publisher.Mono;

/** What came through the relays is the stopped source's memory, all of it, byte for byte. */
@RequiresQemu
class RelayContentsTest {

  private static final int RAM_MIB = 32;
  private static final int PAGE = 4096;
  private static final Map<String, Boolean> RETURN_PATH = Map.of("return-path", true);
  private static final BootSector WRITER = BootSector.upToMiB(16).withDelay(2_000);

  /** The ways in which pages may travel. */
  enum Way {
    AS_THEY_ARE(spec -> spec.withCompression(null).withXbzrle(null)),
    AS_DELTAS(spec -> spec.withCompression(null)),
    COMPRESSED(spec -> spec.withCompression(new CompressionSpec(3, 3)).withXbzrle(null)),
    AS_COMPRESSED_DELTAS(spec -> spec),
    AS_THE_LINK_HAS_ROOM(spec -> spec.withAdaptive(true));

    private final UnaryOperator<RelaySpec> change;

    Way(UnaryOperator<RelaySpec> change) {
      this.change = change;
    }

    RelaySpec spec() {
      return change.apply(RelaySpec.DEFAULT);
    }
  }

  @TempDir private Path directory;

  @ParameterizedTest
  @EnumSource
  void ofAnyContents(Way way) throws IOException {
    long seed = 1 + way.ordinal();
    Path ram = Files.write(directory.resolve("ram"), contents(new Random(seed)));
    Path copy = directory.resolve("copy");
    try (QemuProcess source = stopped(ram).start();
        QemuProcess destination = stopped(copy).with("-incoming", "defer").start()) {
      move(way.spec(), source, destination);
      compare(source, destination, "seed " + seed);
    }
  }

  private static QemuProcess.Builder stopped(Path ram) {
    return QemuProcess.builder().ramMiB(RAM_MIB).sharedMemory(ram).with("-S");
  }

  @ParameterizedTest
  @EnumSource
  void ofAGuestThatWrites(Way way) {
    try (QemuProcess source = QemuProcess.builder().ramMiB(RAM_MIB).boot(WRITER).start();
        QemuProcess destination =
            QemuProcess.builder()
                .ramMiB(RAM_MIB)
                .boot(WRITER)
                .with("-S", "-incoming", "defer")
                .start()) {
      source.awaitBooted();
      source
          .commands()
          .setParameters(Map.of("max-bandwidth", 20 << 20, "downtime-limit", 5_000))
          .block(PATIENCE);
      move(way.spec(), source, destination);
      compare(source, destination, "the guest");
      WRITER.check(destination.pmemsave(WRITER));
    }
  }

  private static void move(RelaySpec spec, QemuProcess source, QemuProcess destination) {
    source.commands().setCapabilities(Map.of("return-path", true, "events", true)).block(PATIENCE);
    try (RelayPair relays = new RelayPair(spec, RelayPair.await(destination, RETURN_PATH))) {
      source
          .commands()
          .migrate(relays.uri())
          .then(Mono.defer(() -> source.commands().awaitMigration(PATIENCE)))
          .onErrorResume(e -> Mono.empty()) // why it failed, the relays say better
          .block(PATIENCE);
      assertThat(RelayPair.failure(relays.sourceEnd())).isNull();
      assertThat(RelayPair.failure(relays.destinationEnd())).isNull();
    }
  }

  private static void compare(QemuProcess source, QemuProcess destination, String what) {
    byte[] left = source.pmemsave(0, (long) RAM_MIB << 20);
    byte[] arrived = destination.pmemsave(0, (long) RAM_MIB << 20);
    assertThat(Arrays.mismatch(left, arrived)).as("first difference, %s", what).isEqualTo(-1);
  }

  /** Zero, noise, text and counters, in runs of pages. */
  private static byte[] contents(Random random) {
    byte[] ram = new byte[RAM_MIB << 20];
    byte[] page = new byte[PAGE];
    for (int p = 0; p < ram.length / PAGE; ) {
      int kind = random.nextInt(4);
      for (int end = Math.min(ram.length / PAGE, p + 1 + random.nextInt(64)); p < end; p++) {
        switch (kind) {
          case 0 -> Arrays.fill(page, (byte) 0);
          case 1 -> random.nextBytes(page);
          case 2 -> Arrays.fill(page, (byte) ('a' + random.nextInt(26)));
          default -> {
            for (int i = 0; i < PAGE; i++) {
              page[i] = (byte) (i % 8 == 0 ? p : 0);
            }
          }
        }
        System.arraycopy(page, 0, ram, p * PAGE, PAGE);
      }
    }
    return ram;
  }
}
