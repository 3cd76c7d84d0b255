package io.pageflux.qemu.relay;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.operator.BandwidthLimit;
import io.pageflux.qemu.testing.BootSector;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.qemu.testing.RequiresQemu;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * The source's QEMU reckons how fast the link is, and with it how long its guest would be stopped,
 * from what it gets rid of. So the relays must not swallow what the link does not carry.
 */
@RequiresQemu
class RelayBacklogTest {

  private static final Map<String, Boolean> RETURN_PATH = Map.of("return-path", true);
  private static final BootSector WRITER = BootSector.upToMiB(48).withDelay(20_000);
  private static final long LINK_BYTES_PER_SECOND = 16_000_000;

  /** A connection on which little gets through. */
  private record Slow(Connection connection, AtomicLong sent) implements Connection {

    @Override
    public Mono<Void> send(Flux<TransportBuffer> buffers) {
      Function<Flux<TransportBuffer>, Flux<TransportBuffer>> limit =
          BandwidthLimit.of(
              buffer -> buffer.bytes().remaining(),
              () -> LINK_BYTES_PER_SECOND,
              Schedulers.parallel());
      return connection.send(
          buffers.doOnNext(buffer -> sent.addAndGet(buffer.bytes().remaining())).transform(limit));
    }

    @Override
    public Flux<TransportBuffer> receive() {
      return connection.receive();
    }

    @Override
    public String peer() {
      return connection.peer();
    }

    @Override
    public void dispose() {
      connection.dispose();
    }

    @Override
    public Mono<Void> onDispose() {
      return connection.onDispose();
    }
  }

  @Test
  void qemuIsNotRidOfMuchMoreThanTheLinkCarries() {
    RelaySpec spec = RelaySpec.DEFAULT.withCompression(null).withXbzrle(null);
    try (QemuProcess source = QemuProcess.builder().boot(WRITER).start();
        QemuProcess destination =
            QemuProcess.builder().boot(WRITER).with("-incoming", "defer").start()) {
      source.awaitBooted();
      source.commands().setCapabilities(RETURN_PATH).block(PATIENCE);
      source.commands().setParameters(Map.of("max-bandwidth", 100_000_000_000L)).block(PATIENCE);
      AtomicLong carried = new AtomicLong();
      Connector qemu =
          TcpTransport.connector(
              TcpSpec.loopback(RelayPair.await(destination, RETURN_PATH))
                  .withSocketBuffers(256 << 10, 0));
      Connector slow = () -> Mono.<Connection>from(qemu.connect()).map(c -> new Slow(c, carried));
      try (RelayPair relays = new RelayPair(spec, slow)) {
        source.commands().migrate(relays.uri()).block(PATIENCE);
        long most = 0;
        for (long transferred = 0; transferred < 32 << 20; ) {
          long before = carried.get();
          transferred = transferred(source);
          most = Math.max(most, transferred - before);
        }
        // Both pools, the window, QEMU's socket buffers, and what was carried meanwhile.
        assertThat(most).isBetween(1L << 20, 10L << 20);
        source.commands().migrateCancel().block(PATIENCE);
      }
    }
  }

  private static long transferred(QemuProcess source) {
    return Mono.delay(Duration.ofMillis(20))
        .then(Mono.defer(source.commands()::queryMigrate))
        .map(status -> status.info().path("ram").path("transferred").asLong())
        .blockOptional(PATIENCE)
        .orElseThrow();
  }
}
