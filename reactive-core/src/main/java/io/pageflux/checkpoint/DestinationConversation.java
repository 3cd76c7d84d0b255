package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.RecordDecompressor;
import io.pageflux.channel.WireChannel;
import io.pageflux.codec.DeltaDecoder;
import io.pageflux.codec.PageLoader;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.Connection;
import io.pageflux.wire.Feature;
import io.pageflux.wire.LayoutCheck;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * The exchange of a session's destination with one source.
 *
 * <p>The peer's records are taken one after the other: {@link #take} is the state machine that says
 * which record may come when, and what is done with it. So all state here is used serially.
 */
final class DestinationConversation {

  /** What the source may say next. */
  private enum Phase {
    HELLO,
    LAYOUT,
    BETWEEN_ROUNDS,
    IN_COPY_ROUND,
    IN_CHECKPOINT,
    DEVICE_STATE
  }

  private final CheckpointDestination session;
  private final IncomingCheckpointSpec spec;
  private final CheckpointDestination.Resources resources;
  private final GuestMemory memory;
  private final WireChannel channel;
  private final PageLoader loader;
  private final DeltaDecoder deltas = new DeltaDecoder();
  private final Disposable.Composite watches = Disposables.composite();
  private final Sinks.Empty<Void> outcome = Sinks.empty();

  private Phase phase = Phase.HELLO;
  private long features;
  private int round;
  private long checkpoints;
  private long dirtyPages;
  private long[] arrived = new long[PageKind.values().length];
  private long roundPages;
  private long pages;
  private List<byte[]> deviceState = new ArrayList<>();
  private long deviceStateBytes;

  DestinationConversation(
      CheckpointDestination session,
      Connection connection,
      CheckpointDestination.Resources resources) {
    this.session = session;
    this.spec = session.spec;
    this.memory = spec.memory();
    this.loader = new PageLoader(memory);
    this.resources = resources;
    this.channel = new WireChannel(connection, spec.peerTimeout(), session.timer, this::end);
  }

  /** Ends in error only. */
  Mono<Void> listen() {
    return Mono.defer(
        () -> {
          // Nothing but control records goes this way; the script is a silent one.
          attend(channel.send(Flux.never(), Function.identity()));
          attend(
              channel
                  .receive()
                  .transform(
                      RecordDecompressor.of(channel, spec.workers(), resources.decompressThreads))
                  .concatMap(this::next, 0)
                  .then());
          watches.add(channel.watchPeer().subscribe(v -> {}, this::end));
          watches.add(channel.keepAlive().subscribe(v -> {}, this::end));
          watches.add(
              session.stop.subscribe(v -> {}, this::end, () -> end(CheckpointRun.stopped())));
          return outcome.asMono();
        });
  }

  private void attend(Mono<Void> direction) {
    direction.subscribe(v -> {}, this::end);
  }

  private void end(Throwable e) {
    outcome.tryEmitError(MigrationException.ofAny(e));
  }

  /** Takes the next record. {@return what has to be done before the one after it is taken} */
  private Mono<Void> next(WireRecord record) {
    if (channel.isOver()) {
      RecordDecompressor.release(record);
      return Mono.empty();
    }
    try {
      return take(record);
    } catch (RuntimeException e) {
      channel.endOver(e);
      return Mono.empty();
    }
  }

  private Mono<Void> take(WireRecord record) {
    switch (record) {
      case WireRecord.Pages batch -> pages(batch);
      case WireRecord.Hello hello -> hello(hello);
      case WireRecord.Layout layout -> layout(layout);
      case WireRecord.RoundBegin begin -> roundBegin(begin);
      case WireRecord.RoundEnd end -> roundEnd(end);
      case WireRecord.DeviceState piece -> deviceState(piece);
      case WireRecord.End end -> {
        return hold(end);
      }
      case WireRecord.Failure failure ->
          throw MigrationException.reportedByPeer(failure.kind(), failure.message());
      case WireRecord.KeepAlive k -> {}
      default -> throw outOfTurn(record);
    }
    return Mono.empty();
  }

  private MigrationException outOfTurn(WireRecord record) {
    return MigrationException.of(
        Kind.PROTOCOL,
        "%s sent a %s record out of turn (%s)"
            .formatted(channel.peer(), record.getClass().getSimpleName(), phase));
  }

  private void require(Phase expected, WireRecord record) {
    if (phase != expected) {
      throw outOfTurn(record);
    }
  }

  private void hello(WireRecord.Hello theirs) {
    require(Phase.HELLO, theirs);
    WireRecord.Hello ours =
        new WireRecord.Hello(
            WireLimits.VERSION,
            WireLimits.VERSION,
            Feature.migration() | Feature.CHECKPOINTS.mask(),
            Feature.CHECKPOINTS.mask(),
            theirs.session(),
            theirs.channel(),
            theirs.channels(),
            WireLimits.SOFTWARE);
    // Even if they do not suit one another the peer is to know what we are.
    channel.say(ours);
    features = Negotiation.ofOneConnection(ours, theirs).features();
    phase = Phase.LAYOUT;
  }

  private void layout(WireRecord.Layout theirs) {
    require(Phase.LAYOUT, theirs);
    LayoutCheck.requireSame(theirs.layout(), memory.layout());
    BatchGeometry geometry = theirs.geometry();
    LayoutCheck.requireAtMost(geometry, spec.maxGeometry());
    // Two for each worker, one that is being read and one that is being staged.
    SlabPool slabs = new SlabPool(2 * spec.workers() + 2, geometry);
    resources.pool(slabs);
    channel.expectPages(memory.layout(), slabs, features);
    phase = Phase.BETWEEN_ROUNDS;
    channel.say(new WireRecord.Ready());
  }

  private void roundBegin(WireRecord.RoundBegin begin) {
    require(Phase.BETWEEN_ROUNDS, begin);
    if (begin.round() != round + 1) {
      throw MigrationException.of(
          Kind.PROTOCOL, "round %d follows round %d".formatted(begin.round(), round));
    }
    if (begin.pages() > memory.layout().totalPages()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "round %d is to have %d pages, but the memory has %d pages"
              .formatted(begin.round(), begin.pages(), memory.layout().totalPages()));
    }
    if (!begin.last() && checkpoints > 0) {
      // Its pages would go to memory at once, which is that of a checkpoint.
      throw MigrationException.of(
          Kind.PROTOCOL,
          "round %d is no checkpoint, but follows checkpoint %d"
              .formatted(begin.round(), checkpoints));
    }
    if (begin.last() && begin.round() == 1) {
      throw MigrationException.of(
          Kind.PROTOCOL, "a checkpoint comes before the first copy of the memory");
    }
    round = begin.round();
    dirtyPages = begin.pages();
    roundPages = 0;
    arrived = new long[arrived.length];
    phase = begin.last() ? Phase.IN_CHECKPOINT : Phase.IN_COPY_ROUND;
  }

  private void pages(WireRecord.Pages record) {
    PageBatch batch = record.batch();
    try {
      if (phase != Phase.IN_COPY_ROUND && phase != Phase.IN_CHECKPOINT) {
        throw outOfTurn(record);
      }
      for (PageKind kind : PageKind.values()) {
        arrived[kind.code()] += batch.count(kind);
      }
      roundPages += batch.size();
      if (roundPages > dirtyPages) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "round %d was to have %d pages, but there are more".formatted(round, dirtyPages));
      }
      // Memory is as the round before has left it: what deltas are made to.
      deltas.expand(batch, memory);
      if (phase == Phase.IN_CHECKPOINT) {
        resources.staging.add(batch);
      } else {
        loader.load(batch);
      }
    } finally {
      batch.release();
    }
  }

  private void roundEnd(WireRecord.RoundEnd end) {
    if (phase != Phase.IN_COPY_ROUND && phase != Phase.IN_CHECKPOINT) {
      throw outOfTurn(end);
    }
    long zero = arrived[PageKind.ZERO.code()];
    long raw = arrived[PageKind.RAW.code()];
    long delta = arrived[PageKind.DELTA.code()];
    if (end.round() != round || end.zero() != zero || end.raw() != raw || end.delta() != delta) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          ("round %d ends as round %d with %d zero, %d raw and %d delta pages, but %d, %d and %d"
                  + " have arrived")
              .formatted(round, end.round(), end.zero(), end.raw(), end.delta(), zero, raw, delta));
    }
    pages += roundPages;
    if (phase == Phase.IN_CHECKPOINT) {
      phase = Phase.DEVICE_STATE;
      return;
    }
    phase = Phase.BETWEEN_ROUNDS;
    channel.say(new WireRecord.RoundAck(round, roundPages));
    session.events.accept(new CheckpointEvent.Copied(round, dirtyPages, roundPages));
  }

  private void deviceState(WireRecord.DeviceState piece) {
    require(Phase.DEVICE_STATE, piece);
    deviceStateBytes += piece.bytes().length;
    if (deviceStateBytes > spec.maxDeviceStateBytes()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the guest's device state is longer than " + spec.maxDeviceStateBytes() + " bytes");
    }
    deviceState.add(piece.bytes());
  }

  /** The checkpoint is complete: from here on it is what the guest can go on from. */
  private Mono<Void> hold(WireRecord.End end) {
    require(Phase.DEVICE_STATE, end);
    if (end.pages() != pages || end.deviceStateBytes() != deviceStateBytes) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "%d pages and %d bytes of device state were sent, but %d and %d have arrived"
              .formatted(end.pages(), end.deviceStateBytes(), pages, deviceStateBytes));
    }
    long stagedBytes = resources.staging.usedBytes();
    long number = checkpoints + 1;
    long changed = roundPages;
    long changedByDelta = arrived[PageKind.DELTA.code()];
    Mono<Void> applied =
        resources.place.hold(
            number,
            deviceState,
            took ->
                session.events.accept(
                    new CheckpointEvent.Held(number, changed, changedByDelta, stagedBytes, took)));
    if (applied == null) {
      return Mono.empty();
    }
    checkpoints = number;
    deviceState = new ArrayList<>();
    deviceStateBytes = 0;
    channel.say(new WireRecord.Prepared(pages));
    return channel.busy(applied.then(Mono.fromRunnable(() -> phase = Phase.BETWEEN_ROUNDS)));
  }

  /** Cleans up: first what is held, which is put into memory, then the peer. */
  Mono<Void> fail(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    watches.dispose();
    return resources
        .place
        .close()
        .then(Mono.defer(() -> channel.hangUp(reason, !reason.isFromPeer())));
  }
}
