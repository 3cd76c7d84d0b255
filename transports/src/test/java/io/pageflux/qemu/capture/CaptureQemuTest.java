package io.pageflux.qemu.capture;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.tcp.LeakCheck;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A real QEMU migrates into files. */
@RequiresQemu
@ExtendWith(LeakCheck.class)
class CaptureQemuTest {

  private static final BootSector WRITER = BootSector.upToMiB(9);

  /** Where RAM is nothing but RAM: below the VGA, and above 1 MiB. */
  private static final int LOW_END = 0xa0000;

  private static final int HIGH_START = 1 << 20;
  private static final int RAM_BYTES = 32 << 20;

  @TempDir private Path temp = Path.of("");

  private Path directory() {
    return temp.resolve("capture");
  }

  private static QemuProcess source(boolean returnPath) {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.commands()
        .setCapabilities(Map.of("return-path", returnPath, "events", true))
        .block(PATIENCE);
    qemu.awaitBooted();
    return qemu;
  }

  private static void limit(QemuProcess source, long bytesPerSecond, int downtimeMillis) {
    source
        .commands()
        .setParameters(Map.of("max-bandwidth", bytesPerSecond, "downtime-limit", downtimeMillis))
        .block(PATIENCE);
  }

  private static void switchOn(QemuProcess qemu, String capability, Map<String, ?> parameters) {
    Map<String, Boolean> has =
        Objects.requireNonNull(qemu.commands().queryCapabilities().block(PATIENCE));
    assumeTrue(has.containsKey(capability), "this QEMU has no capability " + capability);
    qemu.commands().setCapability(capability, true).block(PATIENCE);
    qemu.commands().setParameters(parameters).block(PATIENCE);
  }

  /** Migrates a guest that writes all the time, over some passes. */
  private static void migrate(QemuProcess source, String uri, int passes, long bytesPerSecond) {
    // So slow that the guest always writes more than QEMU could send within the downtime.
    limit(source, bytesPerSecond, 1);
    source.commands().migrate(uri).block(PATIENCE);
    CaptureRig.await(
        source,
        status ->
            status.isEnded()
                || status.info().path("ram").path("dirty-sync-count").asInt() >= passes);
    limit(source, 1L << 33, 20_000);
    MigrateStatus end = CaptureRig.await(source, MigrateStatus::isEnded);
    assertThat(end.toString()).isEqualTo("completed");
    assertThat(end.info().path("ram").path("dirty-sync-count").asInt())
        .isGreaterThanOrEqualTo(passes);
  }

  private static void assertImageIsMemory(Path directory, QemuProcess source) throws IOException {
    byte[] image = Files.readAllBytes(directory.resolve("pc.ram"));
    assertThat(image).hasSize(RAM_BYTES);
    assertSame(source, image, 0, LOW_END);
    assertSame(source, image, HIGH_START, RAM_BYTES);
    WRITER.check(Arrays.copyOfRange(image, WRITER.firstByte(), WRITER.endByte()));
  }

  private static void assertSame(QemuProcess source, byte[] image, int from, int to) {
    byte[] memory = source.pmemsave(from, to - from);
    int at = Arrays.mismatch(memory, 0, to - from, image, from, to);
    assertThat(at).as("the first byte that differs, from %#x on", from).isEqualTo(-1);
  }

  private static JsonNode index(Path directory) throws IOException {
    return new ObjectMapper().readTree(directory.resolve("capture.json").toFile());
  }

  @ParameterizedTest
  @CsvSource({
    "plain, true",
    "plain, false",
    "xbzrle, true",
    "xbzrle, false",
    "compress, true",
    "compress, false"
  })
  void theImageIsTheStoppedGuestsMemory(String form, boolean returnPath) throws IOException {
    try (QemuProcess source = source(returnPath);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      if (form.equals("xbzrle")) {
        switchOn(source, form, Map.of("xbzrle-cache-size", 64 << 20));
      } else if (form.equals("compress")) {
        switchOn(source, form, Map.of("compress-level", 1));
      }
      migrate(source, capture.uri(), form.equals("xbzrle") ? 5 : 3, 4 << 20);
      CaptureInfo info = capture.complete();
      assertThat(info.returnPath()).isEqualTo(returnPath);
      assertImageIsMemory(directory(), source);
      JsonNode index = index(directory());
      assertThat(index).isEqualTo(new ObjectMapper().readTree(CaptureJson.of(info).toString()));
      assertThat(index.path("machine-type").asText()).startsWith("pc-i440fx");
      assertThat(index.path("stream-bytes").asLong())
          .isEqualTo(Files.size(directory().resolve("stream")))
          .isEqualTo(info.streamBytes());
      String records =
          Map.of("plain", "page", "xbzrle", "xbzrle", "compress", "compressed").get(form);
      assertThat(index.path("page-records").path(records).path("records").asLong()).isPositive();
      assertThat(info.deltaPages() > 0).isEqualTo(form.equals("xbzrle"));
      assertFilesAreThose(index);
      assertThat(index.path("devices")).isNotEmpty();
    }
  }

  private void assertFilesAreThose(JsonNode index) throws IOException {
    long total = 0;
    for (JsonNode block : index.path("ram-blocks")) {
      Path file = directory().resolve(block.path("file").asText());
      assertThat(Files.size(file)).isEqualTo(block.path("bytes").asLong());
      assertThat(block.path("page-size").asInt()).isEqualTo(4096);
      total += Files.size(file);
    }
    assertThat(index.path("ram-bytes").asLong()).isEqualTo(total);
    assertThat(CaptureRig.names(directory()))
        .hasSize(index.path("ram-blocks").size() + 2)
        .contains("capture.json", "stream", "pc.ram", "pc.bios.ram")
        .noneMatch(name -> name.endsWith(".partial"));
  }

  @Test
  void zerosTakeNoRoom() throws Exception {
    try (QemuProcess source = source(true);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      source.commands().stop().block(PATIENCE);
      limit(source, 1L << 33, 1);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      capture.complete();
      assertImageIsMemory(directory(), source);
      Process du =
          new ProcessBuilder("du", "--block-size=1", directory().resolve("pc.ram").toString())
              .start();
      String used = new String(du.getInputStream().readAllBytes()).split("\\s")[0];
      assertThat(Long.parseLong(used)).isBetween(8L << 20, 12L << 20);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void theStreamRunsInAnotherQemu(boolean returnPath) throws IOException {
    try (QemuProcess source = source(returnPath);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      migrate(source, capture.uri(), 3, 8 << 20);
      capture.complete();
      try (QemuProcess destination =
          QemuProcess.builder()
              .boot(WRITER)
              .with("-S", "-incoming", "exec:cat " + directory().resolve("stream"))
              .start()) {
        assertThat(CaptureRig.await(destination, MigrateStatus::isEnded).toString())
            .isEqualTo("completed");
        assertThat(destination.pmemsave(WRITER)).isEqualTo(source.pmemsave(WRITER));
        destination.commands().cont().block(PATIENCE);
        destination.awaitPasses(2);
        destination.commands().stop().block(PATIENCE);
        byte[] now = destination.pmemsave(WRITER);
        WRITER.check(now);
        assertThat(WRITER.generation(now))
            .isGreaterThan(WRITER.generation(source.pmemsave(WRITER)));
      }
    }
  }

  /** What may end a capture. */
  private interface Accident {
    void happen(CaptureRig capture);
  }

  private MigrationException assertSourceGoesOn(boolean returnPath, Accident accident)
      throws IOException {
    try (QemuProcess source = source(returnPath);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      limit(source, 1 << 20, 1);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      CaptureRig.await(
          source, status -> status.info().path("ram").path("transferred").asLong() > 1 << 20);
      accident.happen(capture);
      Throwable failure = capture.failure();
      assertThat(CaptureRig.await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
      source.awaitPasses(2);
      assertThat(CaptureRig.names(directory()))
          .contains("stream.partial", "pc.ram.partial")
          .allMatch(name -> name.endsWith(".partial"));
      assertThat(failure)
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining(directory().toString())
          .hasMessageContaining("*.partial");
      return (MigrationException) failure;
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whenTheConnectionIsCutTheSourceGoesOn(boolean returnPath) throws IOException {
    assertThat(assertSourceGoesOn(returnPath, CaptureRig::cut).kind()).isEqualTo(Kind.TRANSPORT);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void whenTheCaptureIsStoppedTheSourceGoesOn(boolean returnPath) throws IOException {
    assertThat(assertSourceGoesOn(returnPath, CaptureRig::stop).kind()).isEqualTo(Kind.CANCELLED);
  }

  @Test
  void whenTheSourceIsKilledTheCaptureIsPartial() throws IOException {
    try (QemuProcess source = source(true);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      limit(source, 1 << 20, 1);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      CaptureRig.await(
          source, status -> status.info().path("ram").path("transferred").asLong() > 1 << 20);
      source.kill();
      assertThat(capture.failure()).hasMessageContaining("*.partial");
      assertThat(CaptureRig.names(directory())).allMatch(name -> name.endsWith(".partial"));
    }
  }

  @Test
  void aCancelledMigrationIsNoCapture() throws IOException {
    try (QemuProcess source = source(true);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      limit(source, 1 << 20, 1);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      CaptureRig.await(
          source, status -> status.info().path("ram").path("transferred").asLong() > 1 << 20);
      source.commands().migrateCancel().block(PATIENCE);
      assertThat(capture.failure()).hasMessageContaining("the stream ended");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  @Test
  void aGuestThatIsTooLargeGoesOnAtItsSource() throws IOException {
    try (QemuProcess source = source(true);
        CaptureRig capture =
            new CaptureRig(CaptureSpec.of(directory()).withMaxRamBytes(RAM_BYTES))) {
      limit(source, 1 << 20, 1);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      assertThat(capture.failure()) // The BIOS comes on top.
          .hasMessageContaining("bytes of RAM, which is more than the limit of " + RAM_BYTES);
      assertThat(CaptureRig.await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  @ParameterizedTest
  @CsvSource({
    "multifd, false",
    "multifd, true",
    "postcopy-ram, true",
    "x-ignore-shared, true",
  })
  void whatCannotBeCapturedIsRefusedByName(String capability, boolean returnPath)
      throws IOException {
    try (QemuProcess source = source(returnPath);
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()))) {
      switchOn(source, capability, Map.of());
      limit(source, 1 << 20, 1);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      assertThat(capture.failure())
          .hasMessageContaining(capability)
          .extracting(e -> ((MigrationException) e).kind())
          .isEqualTo(Kind.PROTOCOL);
      assertThat(CaptureRig.await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      assertThat(source.commands().isRunning().block(PATIENCE)).isTrue();
    }
  }

  @Test
  void withoutADescriptionOnlyTheConnectionsEndTells() throws IOException {
    try (QemuProcess source =
            QemuProcess.builder().boot(WRITER).machine("pc,suppress-vmdesc=on").start();
        CaptureRig capture = new CaptureRig(CaptureSpec.of(directory()).withDescription(false))) {
      source.awaitBooted();
      source.commands().setCapabilities(Map.of("return-path", false)).block(PATIENCE);
      migrate(source, capture.uri(), 1, 1L << 33);
      capture.complete();
      assertImageIsMemory(directory(), source);
    }
  }

  @Test
  void withoutADescriptionAReturnPathIsLeftInTime() throws IOException {
    try (QemuProcess source =
            QemuProcess.builder().boot(WRITER).machine("pc,suppress-vmdesc=on").start();
        CaptureRig capture =
            new CaptureRig(
                CaptureSpec.of(directory()).withSilenceTimeout(java.time.Duration.ofSeconds(1)))) {
      source.awaitBooted();
      source.commands().setCapabilities(Map.of("return-path", true)).block(PATIENCE);
      limit(source, 1L << 33, 20_000);
      source.commands().migrate(capture.uri()).block(PATIENCE);
      assertThat(capture.failure()).hasMessageContaining("suppress-vmdesc");
      assertThat(CaptureRig.await(source, MigrateStatus::isEnded).status()).isEqualTo("failed");
      source.awaitPasses(1);
    }
  }
}
