package io.pageflux.examples.fault;

import io.pageflux.checkpoint.CheckpointEvent;
import io.pageflux.checkpoint.OutgoingCheckpointSpec;
import io.pageflux.checkpoint.OutgoingCheckpoints;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.fault.FaultyTransport;
import io.pageflux.transport.tcp.SocketTransport;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;

/** A source of checkpoints in this process: has the guest. */
final class CheckpointSource implements Side.Source {

  /** Enough to see that checkpoints can be taken again. */
  private static final int CHECKPOINTS_OF_SECOND_ATTEMPT = 2;

  private final FaultRun run;
  private final CheckpointPlan plan;
  private final Path folder;
  private final Mono<Void> stop;
  private final Runnable striking;
  private final GuestMemory memory;
  private final WatchedGuest guest;

  /**
   * @param folder where notes are taken
   * @param stop stops an attempt
   * @param striking called when the moment at which something is to happen has come
   */
  CheckpointSource(FaultRun run, Path folder, RunLock lock, Mono<Void> stop, Runnable striking) {
    this.run = run;
    this.plan = CheckpointPlan.of(run.seed(), run.number());
    this.folder = folder;
    this.stop = stop;
    this.striking = striking;
    this.memory = GuestMemory.builder().anonymous("ram", run.sizeBytes()).build();
    KvGuest store =
        KvGuest.create(memory.block(0), new KvLoad(run.loadBytesPerSecond(), 2), run.number());
    this.guest = new WatchedGuest(store, lock, () -> {});
    resume();
  }

  @Override
  public boolean isAlive() {
    return true;
  }

  @Override
  public Ending attempt(String address, boolean faulty) {
    AtomicReference<@Nullable Connection> made = new AtomicReference<>();
    Connector real = SocketTransport.connector(Endpoint.parse(address).spec());
    Connector noted = () -> real.connect().doOnNext(made::set);
    Connector line =
        faulty
            ? FaultyTransport.connector(
                noted, run::plan, Schedulers.parallel(), n -> striking.run())
            : noted;
    int wanted = faulty ? plan.checkpoints() : CHECKPOINTS_OF_SECOND_ATTEMPT;
    Sinks.Empty<Void> enough = Sinks.empty();
    try (CheckpointNotes.Writer notes = new CheckpointNotes.Writer(folder)) {
      Flux<CheckpointEvent> events =
          OutgoingCheckpoints.of(spec(line, notes, faulty))
              .events(Mono.firstWithSignal(stop, enough.asMono()))
              .doOnNext(
                  event -> {
                    if (event instanceof CheckpointEvent.Acknowledged acknowledged) {
                      notes.acknowledged(acknowledged.report().number());
                      if (acknowledged.report().number() >= wanted) {
                        enough.tryEmitEmpty();
                      }
                    }
                  });
      Duration cancelled =
          faulty && run.scenario() == Scenario.CHECKPOINTS_CANCEL_SOURCE ? run.moment() : null;
      Ending ending = Cancelling.of(events, cancelled, striking, made::get);
      return new Ending(ending.how(), ending.message(), guest.isRunning());
    }
  }

  private OutgoingCheckpointSpec spec(
      Connector line, CheckpointNotes.Writer notes, boolean faulty) {
    boolean killed = faulty && run.scenario() == Scenario.CHECKPOINTS_KILL_SOURCE;
    CheckpointedGuest noted =
        new CheckpointedGuest(
            guest,
            memory,
            notes,
            plan,
            CheckpointPlan.sendingFor(run.moment()),
            killed ? striking : () -> {});
    BatchGeometry geometry = new BatchGeometry(16, 64 << 10);
    return OutgoingCheckpointSpec.of(memory, noted, line)
        .withStaging(geometry, (long) plan.slabs() * geometry.slabBytes())
        .withInterval(plan.interval())
        .withXbzrle(run.xbzrle() ? XbzrleSpec.DEFAULT.withCacheBytes(1 << 20) : null)
        .withCompression(run.compress() ? new CompressionSpec(1, 1) : null)
        .withMaxBandwidth(plan.bytesPerSecond())
        .withPeerTimeout(CheckpointPlan.patience(run, faulty));
  }

  @Override
  public void resume() {
    guest.resume().block();
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
