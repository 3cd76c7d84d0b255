package io.pageflux.examples.fault;

import io.pageflux.checkpoint.CheckpointEvent;
import io.pageflux.checkpoint.IncomingCheckpointSpec;
import io.pageflux.checkpoint.IncomingCheckpoints;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.SocketSpec;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.UnixSpec;
import java.nio.file.Path;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A destination of checkpoints in this process: says which one it holds, and what is in memory. */
final class CheckpointDestination implements Side.Destination {

  private final FaultRun run;
  private final Path folder;
  private final Mono<Void> stop;
  private final GuestMemory memory;
  private final WatchedGuest guest;
  private final AtomicReference<@Nullable Connection> made = new AtomicReference<>();
  private final AtomicReference<CheckpointEvent.@Nullable Ended> held = new AtomicReference<>();
  private Sinks.Empty<Void> nobody = Sinks.empty();
  private CompletableFuture<Ending> ending = new CompletableFuture<>();
  private int listened;

  /**
   * @param folder where a socket may be made
   * @param stop stops an attempt
   */
  CheckpointDestination(FaultRun run, Path folder, RunLock lock, Mono<Void> stop) {
    this.run = run;
    this.folder = folder;
    this.stop = stop;
    this.memory = GuestMemory.builder().anonymous("ram", run.sizeBytes()).build();
    KvGuest store = KvGuest.awaited(memory.block(0), new KvLoad(run.loadBytesPerSecond(), 2));
    this.guest = new WatchedGuest(store, lock, () -> {});
  }

  @Override
  public boolean isAlive() {
    return true;
  }

  @Override
  public String listen(boolean faulty) {
    made.set(null);
    held.set(null);
    nobody = Sinks.empty();
    SocketSpec spec =
        run.unix() ? UnixSpec.of(folder.resolve("s" + listened++)) : TcpSpec.loopback(0);
    Acceptor real = Objects.requireNonNull(SocketTransport.listen(spec).block(LIMIT));
    Flux<CheckpointEvent> events =
        IncomingCheckpoints.of(
                IncomingCheckpointSpec.of(memory, guest, new NotingAcceptor(real, made::set))
                    .withStagingBytes(2 * run.sizeBytes())
                    .withWorkers(1)
                    .withPeerTimeout(CheckpointPlan.patience(run, faulty)))
            .events(Mono.firstWithSignal(stop, nobody.asMono()))
            .doOnNext(
                event -> {
                  if (event instanceof CheckpointEvent.Ended ended) {
                    held.set(ended);
                  }
                });
    CompletableFuture<Ending> end = new CompletableFuture<>();
    ending = end;
    Thread.ofVirtual()
        .start(
            () -> {
              try {
                end.complete(withHeld(Cancelling.of(events, null, () -> {}, made::get)));
              } catch (RuntimeException | Error e) {
                end.completeExceptionally(e);
              } finally {
                real.dispose();
              }
            });
    return real.address();
  }

  private Ending withHeld(Ending ended) {
    CheckpointEvent.Ended last = held.get();
    return last == null
        ? ended
        : new Ending(
            ended.how(),
            new HeldText(last.checkpoint().number(), CheckpointNotes.digest(memory))
                + ": "
                + Failures.describe(last.reason()),
            guest.isRunning());
  }

  @Override
  public void stopIfNobodyCame() {
    if (made.get() == null) {
      nobody.tryEmitEmpty();
    }
  }

  @Override
  public Ending await() {
    return Ending.await(ending, LIMIT, guest::isRunning);
  }

  @Override
  public String takeOver() {
    CheckpointEvent.Ended last = held.get();
    if (last == null) {
      return "no checkpoint is held";
    }
    try {
      last.checkpoint().startGuest(guest).block(LIMIT);
      return "";
    } catch (RuntimeException e) {
      return Failures.describe(e);
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
