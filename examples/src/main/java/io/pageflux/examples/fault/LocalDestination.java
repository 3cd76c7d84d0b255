package io.pageflux.examples.fault;

import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.SocketSpec;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.UnixSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A destination in this process: waits for the guest. */
final class LocalDestination implements Side.Destination {

  private final FaultRun run;
  private final Path folder;
  private final Mono<Void> stop;
  private final GuestMemory memory;
  private final KvGuest store;
  private final WatchedGuest guest;
  private final AtomicReference<@Nullable Connection> made = new AtomicReference<>();
  private Sinks.Empty<Void> nobody = Sinks.empty();
  private CompletableFuture<Ending> ending = new CompletableFuture<>();
  private int listened;

  /**
   * @param folder where a socket may be made
   * @param stop stops an attempt
   * @param beforeStart called before the guest runs
   */
  LocalDestination(
      FaultRun run,
      Path folder,
      RunLock lock,
      Mono<Void> stop,
      java.util.function.Consumer<GuestMemory> beforeStart) {
    this.run = run;
    this.folder = folder;
    this.stop = stop;
    this.memory = memory(run, folder);
    this.store = KvGuest.awaited(memory.block(0), new KvLoad(run.loadBytesPerSecond(), 2));
    this.guest = new WatchedGuest(store, lock, () -> beforeStart.accept(memory));
  }

  private static GuestMemory memory(FaultRun run, Path folder) {
    try {
      return run.scenario() == Scenario.FULL_DISK
          ? GuestMemory.builder()
              .file("ram", folder.resolve(PartyProcess.SMALL_DISK + "/ram"), run.sizeBytes())
              .build()
          : GuestMemory.builder().anonymous("ram", run.sizeBytes()).build();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public boolean isAlive() {
    return true;
  }

  @Override
  public String listen(boolean faulty) {
    guest.refuse(faulty ? run.scenario() : Scenario.NOTHING, run.moment().multipliedBy(5));
    made.set(null);
    nobody = Sinks.empty();
    SocketSpec spec =
        run.unix() ? UnixSpec.of(folder.resolve("s" + listened++)) : TcpSpec.loopback(0);
    Acceptor real = Objects.requireNonNull(SocketTransport.listen(spec).block(LIMIT));
    String address = real.address();
    if (faulty && run.scenario() == Scenario.NOBODY_LISTENS) {
      real.dispose();
    }
    Mono<Void> stopped = Mono.firstWithSignal(stop, nobody.asMono());
    if (faulty && run.scenario() == Scenario.STOP_DESTINATION) {
      stopped = Mono.firstWithSignal(stopped, Mono.delay(run.moment()).then());
    }
    Flux<MigrationEvent> events =
        IncomingMigration.of(
                IncomingSpec.of(memory, guest, new NotingAcceptor(real, made::set))
                    .withWorkers(1)
                    .withPeerTimeout(faulty ? FaultRun.PEER_TIMEOUT : Duration.ofSeconds(15)))
            .events(stopped);
    Duration cancelled =
        faulty && run.scenario() == Scenario.CANCEL_DESTINATION ? run.moment() : null;
    CompletableFuture<Ending> end = new CompletableFuture<>();
    ending = end;
    Thread.ofVirtual()
        .start(
            () -> {
              try {
                Ending ended = Cancelling.of(events, cancelled, made::get);
                // Who cancels is told nothing, and may have been too late.
                boolean runs = guest.isRunning();
                boolean all = runs && ended.message().equals(Cancelling.CANCELLED);
                end.complete(
                    all ? Ending.completed(true) : new Ending(ended.how(), ended.message(), runs));
              } catch (RuntimeException | Error e) {
                end.completeExceptionally(e);
              } finally {
                real.dispose();
              }
            });
    return address;
  }

  @Override
  public void stopIfNobodyCame() {
    if (made.get() == null) {
      nobody.tryEmitEmpty();
    }
  }

  @Override
  public Ending await() {
    try {
      return ending.get(LIMIT.plusSeconds(1).toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      return Ending.hangs("no end");
    } catch (ExecutionException e) {
      return Ending.failed("the bench failed: " + e.getCause(), guest.isRunning());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return Ending.hangs("interrupted");
    }
  }

  @Override
  public String verify() {
    return guest.verify();
  }

  @Override
  public String end() {
    guest.stop();
    memory.close();
    return "";
  }
}
