package io.pageflux.examples.bench.convergence;

import io.pageflux.MigrationException;
import io.pageflux.examples.cli.Failures;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/** A migration over loopback, both sides in this process. */
final class LoopbackRun {

  private static final Duration PATIENCE = Duration.ofMinutes(3);

  /**
   * How it ended.
   *
   * @param info the migration as it was at its end, or when it was heard of last
   * @param time from its beginning until everything was given back
   * @param failure why it failed; null if it has not
   */
  record Result(MigrationInfo info, Duration time, @Nullable MigrationException failure) {}

  private LoopbackRun() {}

  /**
   * Migrates a guest, which stays paused here if it arrives.
   *
   * @param there what becomes of it there
   * @param spec how it is migrated
   * @param listener hears of it
   * @param stop ends it
   * @throws MigrationException if it was stopped
   */
  static Result of(
      GuestMemory memory,
      Guest guest,
      Guest there,
      UnaryOperator<OutgoingSpec> spec,
      Consumer<MigrationEvent> listener,
      Mono<?> stop) {
    TcpAcceptor acceptor =
        Objects.requireNonNull(TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE));
    try (GuestMemory destination = like(memory)) {
      var incoming =
          IncomingMigration.of(IncomingSpec.of(destination, there, acceptor))
              .run()
              .onErrorComplete()
              .toFuture();
      AtomicReference<@Nullable MigrationInfo> last = new AtomicReference<>();
      long began = System.nanoTime();
      MigrationException failure = null;
      try {
        OutgoingMigration.of(
                spec.apply(
                    OutgoingSpec.of(
                        memory, guest, TcpTransport.connector(TcpSpec.loopback(acceptor.port())))))
            .events(stop)
            .doOnNext(
                event -> {
                  if (event instanceof MigrationEvent.Progress(MigrationInfo info)) {
                    last.set(info);
                  } else if (event instanceof MigrationEvent.Completed(MigrationInfo info)) {
                    last.set(info);
                  }
                  listener.accept(event);
                })
            .blockLast(PATIENCE);
      } catch (RuntimeException e) {
        if (Failures.unwrap(e) instanceof MigrationException known
            && known.kind() != MigrationException.Kind.CANCELLED) {
          failure = known;
        } else {
          throw e;
        }
      } finally {
        incoming.join();
      }
      return new Result(
          Objects.requireNonNull(last.get()), Duration.ofNanos(System.nanoTime() - began), failure);
    } finally {
      acceptor.dispose();
    }
  }

  private static GuestMemory like(GuestMemory memory) {
    GuestMemory.Builder builder = GuestMemory.builder();
    for (RamBlock block : memory.blocks()) {
      builder.anonymous(block.name(), block.sizeBytes());
    }
    return builder.build();
  }
}
