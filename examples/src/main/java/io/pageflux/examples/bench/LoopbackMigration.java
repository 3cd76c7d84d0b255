package io.pageflux.examples.bench;

import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpConnector;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.time.Duration;
import java.util.Objects;
import java.util.function.UnaryOperator;
import reactor.core.publisher.Mono;

/**
 * A whole migration of a guest that does not run, over loopback TCP, both sides in this process.
 */
final class LoopbackMigration {

  private static final Duration LIMIT = Duration.ofMinutes(5);

  private LoopbackMigration() {}

  /** The guest does not write: there is nothing to track. */
  private static final class NoWrites implements DirtyTracker {
    @Override
    public String name() {
      return "none";
    }

    @Override
    public void start() {}

    @Override
    public long collect(MemoryPages into) {
      return 0;
    }

    @Override
    public void close() {}
  }

  /** Migrates. {@return the source's report} */
  static MigrationInfo run(
      GuestMemory source, GuestMemory destination, UnaryOperator<OutgoingSpec> customizer) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(LIMIT));
    TcpConnector connector = TcpTransport.connector(TcpSpec.loopback(acceptor.port()));
    try {
      Mono<MigrationInfo> incoming =
          IncomingMigration.of(IncomingSpec.of(destination, Guest.passive(), acceptor)).run();
      Mono<MigrationInfo> outgoing =
          OutgoingMigration.of(
                  customizer.apply(
                      OutgoingSpec.of(source, Guest.passive(), connector)
                          .withTracker(memory -> new NoWrites())))
              .run();
      return Objects.requireNonNull(Mono.zip(outgoing, incoming).block(LIMIT)).getT1();
    } finally {
      acceptor.dispose();
    }
  }

  /** Migrates. {@return how many seconds the first round took until it was acknowledged} */
  static double firstRoundSeconds(
      GuestMemory source, GuestMemory destination, UnaryOperator<OutgoingSpec> customizer) {
    return run(source, destination, customizer).rounds().getFirst().duration().toNanos() / 1e9;
  }
}
