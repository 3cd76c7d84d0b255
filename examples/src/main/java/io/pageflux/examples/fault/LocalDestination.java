package io.pageflux.examples.fault;

import io.pageflux.MigrationException;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.fault.FaultyTransport;
import io.pageflux.transport.tcp.SocketSpec;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.UnixSpec;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;

/** A destination in this process: waits for the guest. */
final class LocalDestination implements Side.Destination {

  /** How long the source may take to come back. */
  private static final Duration RETURN = FaultRun.PEER_TIMEOUT.multipliedBy(2);

  /** How long a connection may wait for another one to be swapped with. */
  private static final Duration GATHERING = Duration.ofMillis(30);

  private final FaultRun run;
  private final Path folder;
  private final Mono<Void> stop;
  private final Runnable striking;
  private final GuestMemory memory;
  private final PostcopyMemory absentBy;
  private final CountDownLatch filled = new CountDownLatch(1);
  private final KvGuest store;
  private final WatchedGuest guest;
  private final AtomicReference<@Nullable Connection> made = new AtomicReference<>();
  private Sinks.Empty<Void> nobody = Sinks.empty();
  private CompletableFuture<Ending> ending = new CompletableFuture<>();
  private int listened;

  /**
   * @param folder where a socket may be made
   * @param stop stops an attempt
   * @param striking called when what is to happen does
   * @param beforeStart called before the guest runs
   */
  LocalDestination(
      FaultRun run,
      Path folder,
      RunLock lock,
      Mono<Void> stop,
      Runnable striking,
      Consumer<PostcopyMemory> beforeStart) {
    this.run = run;
    this.folder = folder;
    this.stop = stop;
    this.striking = striking;
    this.memory = memory(run, folder);
    this.absentBy = PostcopyMemory.of(memory);
    KvLoad load = new KvLoad(run.loadBytesPerSecond(), 2);
    if (run.mode() == Mode.REUSE) {
      OlderCopy.make(memory.block(0), load, run.number());
    }
    this.store = KvGuest.awaited(memory.block(0), load, this::require);
    this.guest = new WatchedGuest(store, lock, () -> beforeStart.accept(absentBy));
  }

  private static Path ramFile(Path folder) {
    return folder.resolve(PartyProcess.SMALL_DISK).resolve("ram");
  }

  /** Waits for pages, also after the source was lost: somebody may bring what it has kept. */
  private void require(long offset, long bytes) {
    if (!run.mode().isPostcopy() || filled.getCount() == 0) {
      return;
    }
    try {
      absentBy.require(0, offset, bytes);
    } catch (MigrationException e) {
      try {
        filled.await();
      } catch (InterruptedException interrupted) {
        Thread.currentThread().interrupt();
        throw e;
      }
    }
  }

  private static GuestMemory memory(FaultRun run, Path folder) {
    try {
      return run.scenario() == Scenario.FULL_DISK
          ? GuestMemory.builder().file("ram", ramFile(folder), run.sizeBytes()).build()
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
    guest.refuse(
        faulty ? run.scenario() : Scenario.NOTHING, run.moment().multipliedBy(5), striking);
    made.set(null);
    nobody = Sinks.empty();
    SocketSpec spec =
        run.unix() ? UnixSpec.of(folder.resolve("s" + listened++)) : TcpSpec.loopback(0);
    Acceptor real = Objects.requireNonNull(SocketTransport.listen(spec).block(LIMIT));
    String address = real.address();
    if (faulty && run.scenario() == Scenario.NOBODY_LISTENS) {
      striking.run();
      real.dispose();
    }
    Mono<Void> stopped = Mono.firstWithSignal(stop, nobody.asMono());
    if (faulty && run.scenario() == Scenario.STOP_DESTINATION) {
      stopped =
          Mono.firstWithSignal(
              stopped, Mono.delay(run.moment()).doOnNext(tick -> striking.run()).then());
    }
    Acceptor acceptor =
        faulty && run.reordered()
            ? FaultyTransport.reordering(real, 2, run.seed(), GATHERING, Schedulers.parallel())
            : real;
    Flux<MigrationEvent> events =
        IncomingMigration.of(spec(new NotingAcceptor(acceptor, made::set), faulty)).events(stopped);
    Duration cancelled =
        faulty && run.scenario() == Scenario.CANCEL_DESTINATION ? run.moment() : null;
    CompletableFuture<Ending> end = new CompletableFuture<>();
    ending = end;
    Thread.ofVirtual()
        .start(
            () -> {
              try {
                Ending ended = Cancelling.of(events, cancelled, striking, made::get);
                acceptor.dispose();
                end.complete(here(ended));
              } catch (RuntimeException | Error e) {
                acceptor.dispose();
                end.completeExceptionally(e);
              }
            });
    return address;
  }

  private IncomingSpec spec(Acceptor acceptor, boolean faulty) {
    IncomingSpec spec =
        IncomingSpec.of(memory, guest, acceptor)
            .withWorkers(1)
            .withPeerTimeout(run.peerTimeout(faulty));
    return switch (run.mode()) {
      case PRECOPY, CHECKPOINTS -> spec;
      case RESUME -> spec.withResume(RETURN);
      case REUSE -> spec.withReuse(true);
      case POSTCOPY -> spec.withPostcopy(absentBy);
      case RECOVER -> spec.withPostcopy(absentBy).withResume(RETURN);
    };
  }

  /** Who cancels is told nothing, and may have been too late. */
  private Ending here(Ending ended) {
    boolean runs = guest.isRunning();
    if (!runs || !ended.message().equals(Cancelling.CANCELLED)) {
      return new Ending(ended.how(), ended.message(), runs);
    }
    AbsentPages absent = absentBy.absent();
    return absent == null || absent.missing() == 0
        ? Ending.completed(true)
        : Ending.failed("cancelled; %s %d pages".formatted(Ending.LACKS, absent.missing()), true);
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
  public void fill(Path file) {
    RamBlock block = memory.block(0);
    int page = block.pageSizeBytes();
    try {
      MemorySegment kept = MemorySegment.ofArray(Files.readAllBytes(file));
      for (long at = 0; at < block.sizeBytes(); at += page) {
        if (!absentBy.isHere(0, at, page)) {
          MemorySegment.copy(kept, at, block.segment(), at, page);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    filled.countDown();
  }

  @Override
  public String verify() {
    return guest.verify();
  }

  @Override
  public String end() {
    filled.countDown(); // who waits for pages waits no longer
    guest.stop();
    memory.close();
    try {
      Files.deleteIfExists(ramFile(folder)); // whoever has memory in a file keeps it
    } catch (IOException e) {
      return "its memory's file: " + e;
    }
    return "";
  }
}
