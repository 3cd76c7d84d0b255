package io.pageflux.examples.fault;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.convergence.ConvergenceDecision.Wait;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingPostcopySpec;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.fault.FaultyTransport;
import io.pageflux.transport.tcp.SocketTransport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/** A source in this process: has the guest. */
final class LocalSource implements Side.Source {

  private static final int RECONNECTIONS = 5;
  private static final Duration RECONNECTION_PAUSE = Duration.ofMillis(20);
  private static final long POSTCOPY_BANDWIDTH = 32 << 20;

  private final FaultRun run;
  private final Mono<Void> stop;
  private final Runnable striking;
  private final GuestMemory memory;
  private final KvGuest store;
  private final WatchedGuest guest;

  /**
   * @param stop stops an attempt
   * @param striking called when what is to happen does
   */
  LocalSource(FaultRun run, RunLock lock, Mono<Void> stop, Runnable striking) {
    this.run = run;
    this.stop = stop;
    this.striking = striking;
    this.memory = GuestMemory.builder().anonymous("ram", run.sizeBytes()).build();
    this.store =
        KvGuest.create(memory.block(0), new KvLoad(run.loadBytesPerSecond(), 2), run.number());
    this.guest = new WatchedGuest(store, lock, () -> {});
    resume();
  }

  /** {@return the guest's memory} */
  GuestMemory memory() {
    return memory;
  }

  boolean isRunning() {
    return guest.isRunning();
  }

  @Override
  public boolean isAlive() {
    return true;
  }

  @Override
  public Ending attempt(String address, boolean faulty) {
    boolean refuses = faulty && run.scenario() == Scenario.GUEST_DOES_NOT_PAUSE;
    guest.refuse(refuses ? run.scenario() : Scenario.NOTHING, Duration.ZERO, striking);
    AtomicInteger connections = new AtomicInteger();
    AtomicReference<@Nullable Connection> made = new AtomicReference<>();
    Connector real = SocketTransport.connector(Endpoint.parse(address).spec());
    Connector noted =
        () ->
            real.connect()
                .doOnNext(
                    connection -> {
                      connections.incrementAndGet();
                      made.set(connection);
                    });
    Connector line =
        faulty
            ? FaultyTransport.connector(noted, run::plan, Schedulers.parallel(), this::struck)
            : noted;
    Mono<Void> stopped =
        faulty && run.scenario() == Scenario.STOP_SOURCE
            ? Mono.firstWithSignal(
                stop, Mono.delay(run.moment()).doOnNext(tick -> striking.run()).then())
            : stop;
    AtomicBoolean agreed = new AtomicBoolean();
    Flux<MigrationEvent> events =
        OutgoingMigration.of(spec(line, faulty))
            .events(stopped)
            .doOnNext(
                event -> {
                  if (event instanceof MigrationEvent.RoundStarted) {
                    agreed.set(true);
                  }
                });
    Ending ending =
        Cancelling.of(
            events,
            faulty && run.scenario() == Scenario.CANCEL_SOURCE ? run.moment() : null,
            striking,
            made::get);
    if (faulty && run.scenario() == Scenario.TIME_LIMIT && ending.how() == Ending.How.FAILED) {
      striking.run();
    }
    return switch (ending.how()) {
      case COMPLETED -> Ending.completed(guest.isRunning(), connections.get());
      case FAILED ->
          // Whoever cancels is told nothing: one who has not got the guest back looks there.
          Ending.failed(
                  ending.message().equals(Cancelling.CANCELLED) && !guest.isRunning()
                      ? "cancelled, and the guest stays paused here"
                      : ending.message(),
                  guest.isRunning())
              .agreed(agreed.get());
      default -> ending;
    };
  }

  private OutgoingSpec spec(Connector line, boolean faulty) {
    OutgoingSpec spec =
        byMode(OutgoingSpec.of(memory, guest, line))
            .withGeometry(new BatchGeometry(16, 64 << 10))
            .withSlabs(6)
            .withXbzrle(run.xbzrle() ? XbzrleSpec.DEFAULT.withCacheBytes(1 << 20) : null)
            .withCompression(run.compress() ? new CompressionSpec(1, 1) : null)
            .withPeerTimeout(run.peerTimeout(faulty));
    return faulty && run.scenario() == Scenario.TIME_LIMIT
        ? spec.withDowntimeLimit(Duration.ZERO)
            .withTimeout(run.moment().dividedBy(4).plusNanos(1))
            .withAtLimit(AtLimit.ABORT)
        : spec;
  }

  private OutgoingSpec byMode(OutgoingSpec spec) {
    OutgoingSpec usual = spec.withDowntimeLimit(Duration.ofMillis(20)).withMaxRounds(6);
    return switch (run.mode()) {
      case PRECOPY, REUSE, CHECKPOINTS -> usual;
      case RESUME -> usual.withResume(again());
      case POSTCOPY -> postcopy(usual, spec.policy());
      // Never by pre-copy, of whose hand-over nobody hears any more by another connection.
      case RECOVER ->
          postcopy(usual, limits -> figures -> new Wait("for post-copy")).withResume(again());
    };
  }

  private static Retry again() {
    return Retry.fixedDelay(RECONNECTIONS, RECONNECTION_PAUSE);
  }

  /** So slowly that pages are still to come when the guest runs. */
  private OutgoingSpec postcopy(OutgoingSpec usual, ConvergencePolicy.Maker first) {
    return usual
        .withDowntimeLimit(Duration.ZERO)
        .withMaxBandwidth(POSTCOPY_BANDWIDTH)
        .withPostcopy(OutgoingPostcopySpec.DEFAULT)
        .withPolicy(PostcopyPolicy.after(first, run.number() % 3, run.moment().dividedBy(2)));
  }

  private void struck(int connection) {
    if (run.isStruckAt(connection)) {
      striking.run();
    }
  }

  @Override
  public void keep(Path file) {
    try {
      Files.write(file, memory.block(0).segment().toArray(ValueLayout.JAVA_BYTE));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
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
