package io.pageflux.qemu.multifd;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.ByteArrayOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
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
    MultifdCompression compression = MultifdCompression.valueOf(method.toUpperCase(Locale.ROOT));
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

  /** What came first over one of QEMU's channels, and the blocks that it speaks of. */
  private record Captured(byte[] bytes, RamLayout layout) {}

  private Captured capture(MultifdCompression compression, int bytes) {
    ByteArrayOutputStream captured = new ByteArrayOutputStream();
    AtomicReference<RamLayout> layout = new AtomicReference<>();
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE));
    List<Connection> connections = new ArrayList<>();
    try (SlabPool pool = new SlabPool(3, BatchGeometry.DEFAULT);
        QemuProcess qemu = QemuProcess.builder().boot(WRITER).start()) {
      qemu.awaitBooted();
      qemu.commands().setCapability("multifd", true).block(PATIENCE);
      String method = compression.name().toLowerCase(Locale.ROOT);
      qemu.commands()
          .setParameters(Map.of("multifd-channels", 1, "multifd-compression", method))
          .block(PATIENCE);
      qemu.commands().migrate("tcp:" + acceptor.address()).block(PATIENCE);
      for (int i = 0; i < 2; i++) {
        connections.add(Objects.requireNonNull(acceptor.accept().block(PATIENCE)));
      }
      Flux<TransportBuffer> tapped =
          connections
              .get(1)
              .receive()
              .doOnNext(
                  buffer -> {
                    byte[] piece = new byte[buffer.bytes().remaining()];
                    buffer.bytes().get(buffer.bytes().position(), piece);
                    captured.write(
                        piece, 0, Math.max(0, Math.min(piece.length, bytes - captured.size())));
                  });
      MultifdIncoming.read(
              MultifdIncomingSpec.of(1, compression),
              List.of(connections.get(0).receive(), tapped),
              pool)
          .doOnNext(
              element -> {
                if (element instanceof QemuElement.RamBlocks blocks) {
                  layout.set(blocks.layout().toRamLayout(4096));
                }
                element.release();
              })
          .blockLast(PATIENCE);
    } finally {
      connections.forEach(Connection::dispose);
      acceptor.dispose();
    }
    return new Captured(captured.toByteArray(), Objects.requireNonNull(layout.get()));
  }

  @ParameterizedTest
  @EnumSource(MultifdCompression.class)
  void damageToWhatQemuSendsIsToldOrHarmless(MultifdCompression compression) {
    int length = compression == MultifdCompression.NONE ? 7000 : 4000;
    Captured captured = capture(compression, length);
    assertThat(captured.bytes()).hasSize(length);
    try (SlabPool pool = new SlabPool(1, BatchGeometry.DEFAULT)) {
      int cutShort = 0;
      for (int cut = 0; cut <= length; cut++) {
        MigrationException e =
            decode(compression, captured.layout(), Arrays.copyOf(captured.bytes(), cut), pool);
        if (e != null) {
          assertThat(e.kind()).as("cut at %d: %s", cut, e).isEqualTo(Kind.TRANSPORT);
          assertThat(e).hasMessageContaining("byte " + cut + ":");
          cutShort++;
        }
      }
      assertThat(cutShort).isGreaterThan(length - 100);
      for (int bit = 0; bit < length * 8; bit += 5) {
        byte[] damaged = captured.bytes().clone();
        damaged[bit / 8] ^= (byte) (1 << bit % 8);
        MigrationException e = decode(compression, captured.layout(), damaged, pool);
        if (e != null) {
          assertThat(e.kind()).as("bit %d: %s", bit, e).isNotEqualTo(Kind.INTERNAL);
          assertThat(e).hasMessageContaining("multifd channel");
        }
      }
    }
  }

  private static @Nullable MigrationException decode(
      MultifdCompression compression, RamLayout layout, byte[] bytes, SlabPool pool) {
    try (MultifdPacketReader reader = new MultifdPacketReader(compression, BatchGeometry.DEFAULT)) {
      reader.expectPages(layout);
      Channels.drive(
          reader,
          pool,
          bytes,
          1024,
          element -> {
            if (element instanceof MultifdElement.Pages pages) {
              pages.batch().release();
            }
          });
      reader.end();
      return null;
    } catch (MigrationException e) {
      return e;
    } finally {
      assertThat(pool.outstanding()).isZero();
    }
  }
}
