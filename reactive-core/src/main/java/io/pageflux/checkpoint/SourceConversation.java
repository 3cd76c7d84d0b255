package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.WireChannel;
import io.pageflux.memory.MemoryPages;
import io.pageflux.operator.BandwidthLimit;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * The exchange of a session's source with its peer.
 *
 * <p>What the source has to say is one flux of records, the {@linkplain #script() script}: each
 * part of it begins when the peer has answered the part before, so there is one checkpoint on its
 * way at a time, and what the parts share needs no lock. What crosses threads is volatile.
 *
 * <p><b>Why no checkpoint is torn:</b> whatever ends the session may have the guest go on at any
 * moment, also while its memory is being copied. So its pages, and its device state, are read
 * between a pause and a look at whether it is {@linkplain CheckpointGuest#isPaused() still paused};
 * if it is not, the checkpoint's END is never said, and without it the destination throws the
 * checkpoint away.
 */
final class SourceConversation {

  private final CheckpointSource session;
  private final OutgoingCheckpointSpec spec;
  private final SourceResources resources;
  private final WireChannel channel;
  private final CheckpointGuest guest;
  private final CheckpointClock clock;
  private final Disposable.Composite watches = Disposables.composite();

  private final Sinks.Empty<Void> outcome = Sinks.empty();
  private final Reply<Negotiation> agreed = new Reply<>();
  private final Reply<WireRecord> ready = new Reply<>();
  private volatile @Nullable Epoch epoch;
  private volatile @Nullable CopyOut copyOut;

  /** What the destination does not have; while a round is on its way, what that round carries. */
  private final MemoryPages dirty;

  private long features;
  private int rounds;
  private long checkpoints;
  private long sentPages;

  SourceConversation(CheckpointSource session, Connection connection, SourceResources resources) {
    this.session = session;
    this.spec = session.spec;
    this.resources = resources;
    this.dirty = new MemoryPages(spec.memory().layout());
    this.channel = new WireChannel(connection, spec.peerTimeout(), session.timer, this::end);
    this.guest =
        new CheckpointGuest(spec.guest(), resources.scanThread, session.timer, spec.peerTimeout());
    this.clock = new CheckpointClock(spec.interval(), session.timer);
  }

  private long now() {
    return session.timer.now(TimeUnit.NANOSECONDS);
  }

  /** Ends in error only. */
  Mono<Void> lead() {
    return Mono.defer(
        () -> {
          Runnable request = clock::request;
          spec.trigger().add(request);
          watches.add(() -> spec.trigger().remove(request));
          attend(channel.receive().doOnNext(this::heard).then());
          attend(channel.send(script(), this::limitBandwidth));
          watches.add(channel.watchPeer().subscribe(v -> {}, this::end));
          watches.add(channel.keepAlive().subscribe(v -> {}, this::end));
          watches.add(
              session.stop.subscribe(v -> {}, this::end, () -> end(CheckpointRun.stopped())));
          return outcome.asMono();
        });
  }

  /** Both directions go on while the conversation ends; they end with the connection. */
  private void attend(Mono<Void> direction) {
    direction.subscribe(v -> {}, this::end);
  }

  private void end(Throwable e) {
    outcome.tryEmitError(MigrationException.ofAny(e));
  }

  private Flux<TransportBuffer> limitBandwidth(Flux<TransportBuffer> buffers) {
    return spec.maxBandwidth() == 0
        ? buffers
        : buffers.transform(
            BandwidthLimit.of(
                buffer -> buffer.bytes().remaining(), spec::maxBandwidth, session.timer));
  }

  private void heard(WireRecord record) {
    if (channel.isOver()) {
      return;
    }
    try {
      take(record);
    } catch (RuntimeException e) {
      channel.endOver(e);
    }
  }

  private void take(WireRecord record) {
    Epoch current = epoch;
    switch (record) {
      case WireRecord.Hello hello -> require(agreed.give(Negotiation.of(hello(), hello)), record);
      case WireRecord.Ready r -> require(ready.give(record), record);
      case WireRecord.RoundAck ack ->
          require(
              current != null
                  && current.number == 0
                  && current.round == ack.round()
                  && current.acknowledged.give(ack.pages()),
              record);
      case WireRecord.Prepared held ->
          require(
              current != null && current.number > 0 && current.acknowledged.give(held.pages()),
              record);
      case WireRecord.Failure failure ->
          throw MigrationException.reportedByPeer(failure.kind(), failure.message());
      case WireRecord.Progress p -> {}
      case WireRecord.KeepAlive k -> {}
      default -> require(false, record);
    }
  }

  private void require(boolean inTurn, WireRecord record) {
    if (!inTurn) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "%s sent a %s record out of turn"
              .formatted(channel.peer(), record.getClass().getSimpleName()));
    }
  }

  private WireRecord.Hello hello() {
    long features =
        Feature.CHECKPOINTS.mask()
            | (spec.xbzrle() == null ? 0 : Feature.XBZRLE.mask())
            | (spec.compression() == null ? 0 : Feature.ZSTD.mask());
    return new WireRecord.Hello(
        WireLimits.VERSION,
        WireLimits.VERSION,
        features,
        Feature.CHECKPOINTS.mask(),
        sessionId,
        0,
        1,
        WireLimits.SOFTWARE);
  }

  private final UUID sessionId = UUID.randomUUID();

  private Flux<WireRecord> script() {
    agreed.ask();
    return Flux.concat(
        Flux.<WireRecord>just(hello()),
        agreed.asMono().publishOn(resources.scanThread).flatMapMany(this::agreed),
        onScanThread(ready.asMono(), Flux.defer(this::firstCopy)),
        Flux.defer(this::checkpoint).repeat());
  }

  private <V> Flux<WireRecord> onScanThread(Mono<V> answer, Flux<WireRecord> next) {
    // What is said next is said on a thread that may block, not on the transport's.
    return answer.publishOn(resources.scanThread).thenMany(next);
  }

  private Flux<WireRecord> agreed(Negotiation negotiation) {
    features = negotiation.features();
    ready.ask();
    return Flux.just(new WireRecord.Layout(spec.memory().layout(), spec.geometry()));
  }

  /** Copies all of the memory while the guest runs, until what is left fits the staging area. */
  private Flux<WireRecord> firstCopy() {
    resources.tracker.start();
    dirty.addAll();
    return Flux.defer(this::copyRound)
        .repeat(
            () ->
                rounds < spec.maxCopyRounds()
                    && dirty.bytes() > (long) spec.slabs() * spec.geometry().payloadBytes());
  }

  private Flux<WireRecord> copyRound() {
    Epoch round = begin(0);
    return Flux.concat(
        Flux.just(round.begin()),
        pages(round),
        Mono.fromSupplier(
            () -> {
              sentPages += round.sentPages();
              round.acknowledged.ask();
              return round.end();
            }),
        onScanThread(
            round.acknowledged.asMono().doOnNext(n -> check(n, round.sentPages())),
            Flux.defer(
                () -> {
                  dirty.clear();
                  resources.tracker.collect(dirty);
                  session.events.accept(
                      new CheckpointEvent.Copied(round.round, round.dirtyPages, round.sentPages()));
                  return Flux.empty();
                })));
  }

  private Epoch begin(long checkpoint) {
    Epoch begun = new Epoch(++rounds, checkpoint, dirty.cardinality(), channel.bytesWritten());
    epoch = begun;
    copyOut =
        new CopyOut(spec.memory(), dirty, resources.tracker, resources.pool, resources.scanThread);
    resources.beginRound(begun.round);
    return begun;
  }

  private Flux<WireRecord> pages(Epoch of) {
    CopyOut copies = copyOut;
    return copies == null
        ? Flux.empty()
        : resources
            .encode(copies.batches(), features)
            .doOnNext(of::count)
            .map(WireRecord.Pages::new);
  }

  private void check(long acknowledged, long sent) {
    if (acknowledged != sent) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "%s has %d pages, but %d were sent".formatted(channel.peer(), acknowledged, sent));
    }
  }

  /** Waits until a checkpoint is due, and takes it. */
  private Flux<WireRecord> checkpoint() {
    return clock
        .next()
        .publishOn(resources.scanThread)
        .then(
            Mono.defer(
                () -> {
                  long began = now();
                  return guest.pause().thenReturn(began);
                }))
        .publishOn(resources.scanThread)
        .flatMapMany(this::capture);
  }

  /** The guest stands still. On the scan thread. */
  private Flux<WireRecord> capture(long beganNanos) {
    long paused = now();
    resources.tracker.collect(dirty);
    long scanned = now();
    Epoch taken = begin(++checkpoints);
    taken.beganNanos = beganNanos;
    taken.pausedNanos = paused;
    taken.scannedNanos = scanned;
    taken.copiedBytes = dirty.bytes();
    CopyOut copies = copyOut;
    if (copies != null) {
      copies.fill();
      taken.fitted = copies.isComplete();
    }
    taken.copiedNanos = now();
    Flux<WireRecord> letGoOn = saveStateAndLetGoOn(taken).thenMany(Flux.empty());
    return Flux.concat(
        taken.fitted ? letGoOn : Flux.empty(),
        Flux.just(taken.begin()),
        pages(taken),
        Mono.fromSupplier(taken::end),
        taken.fitted ? Flux.empty() : letGoOn,
        Flux.defer(() -> Flux.fromIterable(taken.deviceState())),
        Mono.fromSupplier(() -> end(taken)),
        onScanThread(
            taken.acknowledged.asMono().doOnNext(n -> check(n, sentPages)),
            Flux.defer(
                () -> {
                  dirty.clear();
                  session.events.accept(
                      new CheckpointEvent.Acknowledged(
                          taken.report(channel.bytesWritten(), now())));
                  return Flux.empty();
                })));
  }

  private WireRecord end(Epoch taken) {
    sentPages += taken.sentPages();
    taken.acknowledged.ask();
    return new WireRecord.End(sentPages, taken.deviceStateBytes);
  }

  /** Takes what was read for a checkpoint if the guest has stood still until now. */
  private Mono<Void> saveStateAndLetGoOn(Epoch taken) {
    return Flux.defer(spec.guest()::saveDeviceState)
        .doOnNext(taken::addDeviceState)
        .then()
        .subscribeOn(resources.scanThread)
        .onErrorMap(e -> CheckpointRun.guestFailure("give its device state", e))
        .then(
            Mono.defer(
                () ->
                    guest.isPaused() ? guest.resume() : Mono.<Void>error(CheckpointRun.stopped())))
        .doOnSuccess(v -> taken.resumedNanos = now());
  }

  /** Cleans up: first the guest, then the peer, then what was staged. */
  Mono<Void> fail(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    watches.dispose();
    return guest
        .release()
        .onErrorResume(stuck -> Mono.fromRunnable(() -> session.guestStaysPaused(stuck)))
        .then(Mono.defer(() -> channel.hangUp(reason, !reason.isFromPeer())))
        .then(Mono.fromRunnable(this::releaseStaged).subscribeOn(resources.scanThread))
        .then();
  }

  private void releaseStaged() {
    CopyOut copies = copyOut;
    if (copies != null) {
      copies.release();
    }
  }
}
