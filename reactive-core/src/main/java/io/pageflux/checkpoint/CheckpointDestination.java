package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.SlabRelease;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.Connection;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * One session at its destination: waits for a source, has the {@linkplain DestinationConversation
 * conversation}, gives everything back, and sees to what comes after it.
 */
final class CheckpointDestination {

  final IncomingCheckpointSpec spec;
  final Mono<Void> stop;
  final Consumer<CheckpointEvent> events;
  final Scheduler timer = Schedulers.parallel();
  private final MadeConnection line = new MadeConnection();
  private volatile @Nullable Resources taken;

  CheckpointDestination(
      IncomingCheckpointSpec spec, Mono<Void> stop, Consumer<CheckpointEvent> events) {
    this.spec = spec;
    this.stop = stop;
    this.events = events;
  }

  /** What a session takes and must give back. */
  static final class Resources {

    final Scheduler decompressThreads;
    final Scheduler applyThread;
    final EpochStaging staging;
    final HoldingPlace place;
    private volatile @Nullable SlabPool pool;

    Resources(IncomingCheckpointSpec spec) {
      staging = new EpochStaging(spec.stagingBytes());
      decompressThreads = Schedulers.newParallel("pageflux-decompress", spec.workers(), true);
      applyThread = Schedulers.newSingle("pageflux-apply", true);
      place = new HoldingPlace(spec.memory(), staging, applyThread);
    }

    /** The slabs of incoming batches, when it is known how large they are. */
    void pool(SlabPool slabs) {
      pool = slabs;
    }

    /** After {@link HoldingPlace#close()}, when nothing arrives any more. */
    Mono<Void> close() {
      SlabPool used = pool;
      Mono<Void> idle = used == null ? Mono.empty() : SlabRelease.of(used, "batches");
      return place
          .close()
          .then(idle)
          .publishOn(Schedulers.boundedElastic())
          .doOnTerminate(
              () -> {
                decompressThreads.dispose();
                applyThread.dispose();
                staging.close();
              });
    }
  }

  /** Completes when the session has ended and memory is that of a checkpoint. */
  Mono<Void> run() {
    Mono<Connection> accepting = line.accept(spec.acceptor(), stop, CheckpointRun::stopped);
    return Mono.usingWhen(
            Mono.fromSupplier(
                () -> {
                  Resources resources = new Resources(spec);
                  taken = resources;
                  return resources;
                }),
            resources ->
                accepting.flatMap(
                    connection ->
                        Mono.usingWhen(
                            Mono.fromSupplier(
                                () -> new DestinationConversation(this, connection, resources)),
                            DestinationConversation::listen,
                            // It leads to no end but a failure, of which a stop is one.
                            conversation -> conversation.fail(CheckpointRun.stopped()),
                            DestinationConversation::fail,
                            conversation -> conversation.fail(CheckpointRun.stopped()))),
            Resources::close)
        .doFinally(signal -> line.close())
        .onErrorResume(e -> ended(MigrationException.ofAny(e)));
  }

  private Mono<Void> ended(MigrationException reason) {
    Resources resources = taken;
    HeldCheckpoint held = resources == null ? null : resources.place.held();
    if (held == null) {
      return Mono.error(reason);
    }
    boolean starts = spec.failOver() == FailOver.START && isLossOfSource(reason);
    Mono<Void> starting =
        starts
            ? Mono.defer(() -> held.startGuest(spec.guest()))
                .subscribeOn(Schedulers.boundedElastic())
                .onErrorMap(e -> notStarted(held, reason, e))
            : Mono.empty();
    return starting.then(
        Mono.fromRunnable(() -> events.accept(new CheckpointEvent.Ended(held, reason, starts))));
  }

  /** Whether the source can be dead, for all that is known here. */
  private static boolean isLossOfSource(MigrationException reason) {
    return !reason.isFromPeer()
        && (reason.kind() == Kind.TRANSPORT || reason.kind() == Kind.TIMEOUT);
  }

  private static MigrationException notStarted(
      HeldCheckpoint held, MigrationException reason, Throwable e) {
    return MigrationException.of(
        Kind.GUEST,
        "the source was lost (%s), but the guest could not start from %s, which is in memory: %s"
            .formatted(MigrationText.of(reason), held, MigrationText.of(e)),
        e);
  }
}
