package io.pageflux.qemu.stream;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;

/** What a real QEMU sends is read, and makes the memory of its stopped guest. */
@RequiresQemu
class ReadFromQemuTest {

  private static final BootSector WRITER = BootSector.upToMiB(9);
  private static final BatchGeometry GEOMETRY = new BatchGeometry(64, 256 << 10);

  private static QemuProcess source() {
    QemuProcess qemu = QemuProcess.builder().boot(WRITER).start();
    qemu.commands().setCapability("events", true).block(PATIENCE);
    qemu.awaitBooted();
    return qemu;
  }

  /**
   * Has QEMU migrate a guest that writes all the time, for some rounds, and takes what it sends.
   */
  private static byte[] migrate(QemuProcess source, int rounds, int bytesPerSecond)
      throws IOException {
    Path socket = source.directory().resolve("out");
    CompletableFuture<byte[]> captured = QemuSockets.capture(socket);
    Map<String, Object> slow = new HashMap<>();
    // So slow that the guest always writes more than QEMU could send within the downtime.
    slow.put("max-bandwidth", bytesPerSecond);
    // With no downtime at all, QEMU 7.2 never looks for written pages and ends after one round.
    slow.put("downtime-limit", 1);
    source.commands().setParameters(slow).block(PATIENCE);
    CompletableFuture<Void> enough = new CompletableFuture<>();
    Disposable passes =
        source
            .qmp()
            .events()
            .filter(
                e -> e.name().equals("MIGRATION_PASS") && e.data().get("pass").asInt() >= rounds)
            .subscribe(e -> enough.complete(null));
    source.commands().migrate("unix:" + socket).block(PATIENCE);
    Disposable end =
        source
            .commands()
            .awaitMigration(PATIENCE)
            .subscribe(
                early ->
                    enough.completeExceptionally(new AssertionError("ended too early: " + early)),
                enough::completeExceptionally);
    try {
      enough.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (Exception e) {
      throw new IllegalStateException(source.errors(), e);
    } finally {
      passes.dispose();
      end.dispose();
    }
    source
        .commands()
        .setParameters(Map.of("max-bandwidth", 1L << 33, "downtime-limit", 20_000))
        .block(PATIENCE);
    MigrateStatus status = source.commands().awaitMigration(PATIENCE).block(PATIENCE);
    assertThat(status).extracting(MigrateStatus::isCompleted).isEqualTo(true);
    return QemuSockets.await(captured);
  }

  private static void switchOn(QemuProcess qemu, String capability, Map<String, ?> parameters) {
    Map<String, Boolean> has =
        Objects.requireNonNull(qemu.commands().queryCapabilities().block(PATIENCE));
    assumeTrue(has.containsKey(capability), "this QEMU has no capability " + capability);
    qemu.commands().setCapability(capability, true).block(PATIENCE);
    qemu.commands().setParameters(parameters).block(PATIENCE);
  }

  private static QemuSockets.Loaded loadAndCompare(QemuProcess source, byte[] stream) {
    QemuSockets.Loaded loaded = QemuSockets.Loaded.of(stream);
    WrittenForQemuTest.compare(source, loaded.memory().block("pc.ram"), 0);
    WRITER.check(source.pmemsave(WRITER));
    return loaded;
  }

  @Test
  void aPlainStreamMakesTheStoppedGuestsMemory() throws IOException {
    try (QemuProcess source = source()) {
      byte[] stream = migrate(source, 3, 16 << 20);
      try (QemuSockets.Loaded loaded = loadAndCompare(source, stream)) {
        assertThat(loaded.counts.get(PageKind.ZERO)).isPositive();
        assertThat(loaded.counts.get(PageKind.RAW)).isGreaterThan(WRITER.pages());
      }
      isInspected(stream, QemuSockets.machineType(source));
    }
  }

  private static void isInspected(byte[] stream, String machineType) throws IOException {
    QemuStreamSummary summary =
        QemuInspection.inspect(Channels.newChannel(new ByteArrayInputStream(stream)), 4096);
    assertThat(summary.error()).isEmpty();
    assertThat(summary.streamBytes()).isEqualTo(stream.length);
    assertThat(summary.machineType()).contains(machineType);
    assertThat(summary.blocks())
        .extracting(QemuStreamSummary.Block::name)
        .contains("pc.ram", "pc.bios");
    assertThat(summary.total(QemuRecordType.PAGE).records()).isGreaterThan(WRITER.pages());
    assertThat(summary.blocks().getFirst().hottest())
        .hasSize(QemuInspection.HOTTEST)
        .allMatch(page -> page.count() >= 3 && page.page() >= WRITER.firstByte() / BootSector.PAGE);
    assertThat(summary.devices())
        .extracting(QemuStreamSummary.Device::name)
        .contains("timer", "cpu", "serial");
    long deviceBytes =
        summary.devices().stream().mapToLong(QemuStreamSummary.Device::sizeBytes).sum();
    assertThat(deviceBytes).isBetween(10_000L, summary.tailBytes());
  }

  @Test
  void anXbzrleStreamMakesTheStoppedGuestsMemory() throws IOException {
    try (QemuProcess source = source()) {
      switchOn(source, "xbzrle", Map.of("xbzrle-cache-size", 64 << 20));
      byte[] stream = migrate(source, 5, 16 << 20);
      try (QemuSockets.Loaded loaded = loadAndCompare(source, stream)) {
        assertThat(loaded.counts.get(PageKind.DELTA)).isPositive();
      }
    }
  }

  @Test
  void aStreamOfCompressedPagesMakesTheStoppedGuestsMemory() throws IOException {
    try (QemuProcess source = source()) {
      switchOn(source, "compress", Map.of("compress-level", 1));
      byte[] stream = migrate(source, 3, 1 << 20);
      loadAndCompare(source, stream).close();
    }
  }

  @Test
  void anotherQemuRunsOnFromTheElementsThatWereRead() throws IOException {
    try (QemuProcess source = source();
        QemuProcess destination = QemuSockets.incoming(QemuProcess.builder().boot(WRITER));
        SlabPool pool = new SlabPool(2, GEOMETRY)) {
      switchOn(source, "xbzrle", Map.of("xbzrle-cache-size", 64 << 20));
      byte[] stream = migrate(source, 5, 16 << 20);
      QemuStreamWriter writer = new QemuStreamWriter();
      Flux<TransportBuffer> again =
          QemuStreams.read(QemuSockets.chunks(stream), pool)
              .map(
                  element ->
                      element instanceof QemuElement.Pages pages
                          ? writer.pages(pages.batch())
                          : TransportBuffer.of(element.raw()));
      QemuSockets.send(QemuSockets.listen(destination), again);
      destination.commands().awaitMigration(PATIENCE).block(PATIENCE);
      assertThat(pool.outstanding()).isZero();
      assertThat(destination.pmemsave(WRITER)).isEqualTo(source.pmemsave(WRITER));
      destination.commands().cont().block(PATIENCE);
      destination.awaitPasses(3);
      destination.commands().stop().block(PATIENCE);
      WRITER.check(destination.pmemsave(WRITER));
    }
  }
}
