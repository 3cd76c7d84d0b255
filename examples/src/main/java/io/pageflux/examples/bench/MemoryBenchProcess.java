package io.pageflux.examples.bench;

import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The process that {@link MemoryBench} starts, with little memory of its own. */
final class MemoryBenchProcess {

  /** What the line begins with that tells how many MiB the process had at the most. */
  static final String PEAK = "peak-mib ";

  private static final Duration SLOW_TIME = Duration.ofSeconds(15);
  private static final long SLOW_BYTES_PER_SECOND = 2_000_000;
  private static final Duration LIMIT = Duration.ofMinutes(10);

  private MemoryBenchProcess() {}

  /** Migrates a guest of as many bytes as the first argument says. */
  public static void main(String[] args) {
    long sizeBytes = Long.parseLong(args[0]);
    try (GuestMemory source = GuestMemory.builder().memfd("ram", sizeBytes).build();
        GuestMemory destination = GuestMemory.builder().memfd("ram", sizeBytes).build()) {
      GuestContents.fill(source.block(0), 1);
      migrate(source, destination);
    }
  }

  private static void migrate(GuestMemory source, GuestMemory destination) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(LIMIT));
    SlowStart slow = new SlowStart(acceptor, SLOW_BYTES_PER_SECOND, SLOW_TIME);
    Mono<MigrationInfo> incoming =
        IncomingMigration.of(IncomingSpec.of(destination, Guest.passive(), slow)).run();
    Mono<MigrationInfo> outgoing =
        OutgoingMigration.of(
                OutgoingSpec.of(
                    source,
                    Guest.passive(),
                    TcpTransport.connector(TcpSpec.loopback(acceptor.port()))))
            .run();
    long before = ownMemoryKib();
    AtomicLong peak = new AtomicLong(before);
    // The first two seconds show what any migration costs: threads, slabs, buffers, compiled code.
    AtomicLong settled = new AtomicLong();
    var sampling =
        Flux.interval(Duration.ofMillis(200))
            .onBackpressureDrop()
            .subscribe(
                tick -> {
                  long now = ownMemoryKib();
                  if (tick == 10) {
                    settled.set(now);
                  }
                  peak.accumulateAndGet(now, Math::max);
                });
    MigrationInfo info = Objects.requireNonNull(Mono.zip(outgoing, incoming).block(LIMIT)).getT1();
    sampling.dispose();
    acceptor.dispose();
    if (source.block(0).segment().mismatch(destination.block(0).segment()) != -1) {
      throw new IllegalStateException("the memories differ");
    }
    System.out.printf(
        "%d MiB migrated in %.1f s, %d MiB sent; both memories are equal%n",
        source.sizeBytes() >> 20,
        info.totalTime().toMillis() / 1e3,
        info.ram().transferred() >> 20);
    System.out.printf(
        "own memory of the process (anonymous, resident): %d MiB before, %d MiB after 2 s at 2 MB/s,"
            + " %d MiB at the most%n",
        before >> 10, settled.get() >> 10, peak.get() >> 10);
    System.out.printf("%s%.1f%n", PEAK, peak.get() / 1024.0);
  }

  /** Resident memory that is the process's own: the guest's memory is shared memory. */
  private static long ownMemoryKib() {
    try (var lines = Files.lines(Path.of("/proc/self/status"))) {
      return lines
          .filter(line -> line.startsWith("RssAnon:"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
          .findFirst()
          .orElseThrow();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
