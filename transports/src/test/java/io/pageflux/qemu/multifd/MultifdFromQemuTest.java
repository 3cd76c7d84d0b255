package io.pageflux.qemu.multifd;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

@RequiresQemu
class MultifdFromQemuTest {

  private static final BootSector WRITER = BootSector.upToMiB(9);
  private static final int NOISE_AT = 10 << 20;
  private static final int RAM = 32 << 20;

  @TempDir Path directory;

  @ParameterizedTest
  @CsvSource({
    "none,2,true",
    "none,4,false",
    "zlib,2,false",
    "zlib,4,true",
    "zstd,2,true",
    "zstd,4,false"
  })
  void whatQemuSendsIsWhatItsGuestWas(String method, int channels, boolean withWorkers)
      throws Exception {
    byte[] noise = new byte[6 << 20];
    new Random(channels).nextBytes(noise);
    Path file = Files.write(directory.resolve("noise"), noise);
    MultifdCompression compression =
        MultifdCompression.valueOf(method.toUpperCase(java.util.Locale.ROOT));
    Scheduler workers = Schedulers.newParallel("multifd-test", 2, true);
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE));
    List<Connection> connections = new ArrayList<>();
    try (SlabPool pool = new SlabPool(channels + 2, BatchGeometry.DEFAULT);
        LoadedGuest loaded = new LoadedGuest();
        QemuProcess qemu =
            QemuProcess.builder()
                .boot(WRITER)
                .with("-device", "loader,force-raw=on,addr=" + NOISE_AT + ",file=" + file)
                .start()) {
      qemu.awaitBooted();
      qemu.commands().setCapabilities(Map.of("multifd", true, "events", true)).block(PATIENCE);
      qemu.commands()
          .setParameters(Map.of("multifd-channels", channels, "multifd-compression", method))
          .block(PATIENCE);
      qemu.commands().migrate("tcp:" + acceptor.address()).block(PATIENCE);
      for (int i = 0; i <= channels; i++) {
        connections.add(Objects.requireNonNull(acceptor.accept().block(PATIENCE)));
      }
      MultifdIncomingSpec spec =
          MultifdIncomingSpec.of(channels, compression).withWorkers(withWorkers ? workers : null);

      MultifdIncoming.read(spec, connections.stream().map(Connection::receive).toList(), pool)
          .doOnNext(loaded::accept)
          .blockLast(PATIENCE);

      qemu.commands().awaitMigration(PATIENCE).block(PATIENCE);
      assertThat(pool.outstanding()).isZero();
      assertThat(loaded.tailBytes()).isPositive();
      assertThat(loaded.syncPoints()).isGreaterThanOrEqualTo(3);
      // Between the two, reads give what the BIOS and the display adapter have there.
      assertThat(loaded.bytes("pc.ram", 0, 0xa0000)).isEqualTo(qemu.pmemsave(0, 0xa0000));
      assertThat(loaded.bytes("pc.ram", 1 << 20, RAM))
          .isEqualTo(qemu.pmemsave(1 << 20, RAM - (1 << 20)));
      WRITER.check(loaded.bytes("pc.ram", WRITER.firstByte(), WRITER.endByte()));
      assertThat(loaded.bytes("pc.ram", NOISE_AT, NOISE_AT + noise.length)).isEqualTo(noise);
    } finally {
      Flux.fromIterable(connections).subscribe(Connection::dispose);
      acceptor.dispose();
      workers.dispose();
    }
  }
}
