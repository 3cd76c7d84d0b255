package io.pageflux.qemu.multifd;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamSpec;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

@RequiresQemu
class MultifdToQemuTest {

  private static final RamBlockLayout RAM = new RamBlockLayout("pc.ram", 32 << 20, 4096);
  private static final int LOW_END = 0xa0000;
  private static final int HIGH = 1 << 20;

  @ParameterizedTest
  @CsvSource({
    "none,1,false,64",
    "none,4,true,300",
    "zlib,2,true,64",
    "zlib,3,false,300",
    "zstd,2,true,64",
    "zstd,4,true,300",
    "zstd,1,false,64"
  })
  void whatIsSentIsInQemusMemory(
      String method, int channelCount, boolean withWorkers, int pagesPerBatch) {
    send(
        "pc-i440fx-7.2",
        MultifdOutgoingSpec.forMachinesUpTo80(compression(method)),
        channelCount,
        withWorkers,
        pagesPerBatch);
  }

  @ParameterizedTest
  @CsvSource({"none,4,true,300", "zlib,2,true,64", "zstd,4,true,300", "zstd,1,false,64"})
  void newerQemusTakeFlushRecordsAndZeroPagesInPackets(
      String method, int channelCount, boolean withWorkers, int pagesPerBatch) {
    try (QemuProcess qemu = QemuProcess.builder().start()) {
      String version = qemu.qmp().qemuVersion();
      assumeTrue(
          Integer.parseInt(version.substring(0, version.indexOf('.'))) >= 9,
          "QEMU takes these since 9.0, and this one is " + version);
    }
    send(
        "pc-i440fx-9.0",
        MultifdOutgoingSpec.forQemuSince90(compression(method)),
        channelCount,
        withWorkers,
        pagesPerBatch);
  }

  private static MultifdCompression compression(String method) {
    return MultifdCompression.valueOf(method.toUpperCase(Locale.ROOT));
  }

  private static void send(
      String machine,
      MultifdOutgoingSpec spec,
      int channelCount,
      boolean withWorkers,
      int pagesPerBatch) {
    Scheduler workers = Schedulers.newParallel("multifd-test", 2, true);
    List<Connection> connections = new ArrayList<>();
    BatchGeometry geometry = new BatchGeometry(pagesPerBatch, pagesPerBatch * 4096);
    try (SlabPool pool = new SlabPool(8, geometry);
        QemuProcess qemu =
            QemuProcess.builder().machine(machine).with("-S", "-incoming", "defer").start()) {
      qemu.commands().setCapabilities(Map.of("multifd", true, "events", true)).block(PATIENCE);
      qemu.commands()
          .setParameters(
              Map.of(
                  "multifd-channels",
                  channelCount,
                  "multifd-compression",
                  spec.compression().name().toLowerCase(Locale.ROOT)))
          .block(PATIENCE);
      qemu.commands().migrateIncoming("tcp:127.0.0.1:0").block(PATIENCE);
      MigrateStatus status = Objects.requireNonNull(qemu.commands().queryMigrate().block(PATIENCE));
      int port = status.info().get("socket-address").get(0).get("port").asInt();
      for (int i = 0; i <= channelCount; i++) {
        connections.add(
            Objects.requireNonNull(
                TcpTransport.connector(TcpSpec.loopback(port)).connect().block(PATIENCE)));
      }
      ChangingPages pages = new ChangingPages(RAM, pool, 5, channelCount);

      MultifdOutgoing.send(
              spec.withWorkers(withWorkers ? workers : null),
              new QemuStreamSpec(machine, QemuRamLayout.of(new RamLayout(List.of(RAM)))),
              pages.batches(),
              connections.get(0),
              connections.subList(1, connections.size()))
          .onErrorMap(
              MigrationException.class, e -> new AssertionError("QEMU: " + qemu.errors(), e))
          .block(PATIENCE);

      qemu.commands().awaitMigration(PATIENCE).block(PATIENCE);
      assertThat(pool.outstanding()).isZero();
      byte[] sent = pages.memory();
      assertThat(qemu.pmemsave(0, LOW_END)).isEqualTo(Arrays.copyOf(sent, LOW_END));
      assertThat(qemu.pmemsave(HIGH, sent.length - HIGH))
          .isEqualTo(Arrays.copyOfRange(sent, HIGH, sent.length));
    } finally {
      connections.forEach(Connection::dispose);
      workers.dispose();
    }
  }
}
