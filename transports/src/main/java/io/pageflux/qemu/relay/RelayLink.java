package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.WireChannel;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * What both relays share: the conversation with the other one, the end of each direction, and the
 * end of it all.
 *
 * <p>A migration has passed through when both directions have ended: the source's QEMU has closed
 * its stream after the last byte, and the destination's has closed its own. Anything else is a
 * failure, and closes all connections.
 */
abstract class RelayLink {

  /** How long QEMU may take to close its side after the other one has closed. */
  private static final Duration CLOSING = Duration.ofSeconds(2);

  final RelaySpec spec;
  final WireChannel channel;
  final RelayStatistics statistics = new RelayStatistics();
  final Scheduler timer = Schedulers.parallel();
  private final FluxSink<RelayInfo> progress;
  private final Mono<Void> stop;
  private final Sinks.Empty<Void> outcome = Sinks.empty();
  private final Disposable.Composite watches = Disposables.composite();
  private final AtomicBoolean streamEnded = new AtomicBoolean();
  private final AtomicBoolean returnEnded = new AtomicBoolean();

  RelayLink(RelaySpec spec, Connection peer, Mono<Void> stop, FluxSink<RelayInfo> progress) {
    this.spec = spec;
    this.stop = stop;
    this.progress = progress;
    this.channel = new WireChannel(peer, spec.peerTimeout(), timer, this::end);
    statistics.began(now());
  }

  final long now() {
    return timer.now(TimeUnit.NANOSECONDS);
  }

  /** What this side says of itself: no other than a relay is to answer. */
  static WireRecord.Hello hello(UUID session) {
    long features = Feature.all();
    return new WireRecord.Hello(
        WireLimits.VERSION,
        WireLimits.VERSION,
        features,
        Feature.RELAY.mask() | Feature.XBZRLE.mask() | Feature.ZSTD.mask(),
        session,
        0,
        1,
        WireLimits.SOFTWARE);
  }

  static void requireRelay(WireRecord.Hello ours, WireRecord.Hello theirs) {
    Negotiation.of(ours, theirs);
    if (theirs.channels() != 1) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the other relay wants %d connections, but there is one".formatted(theirs.channels()));
    }
  }

  /** Starts both directions. */
  abstract void begin();

  /** {@return how far this relay is} */
  abstract RelayInfo info();

  /** {@return completes when the migration has passed through} */
  final Mono<Void> run() {
    return Mono.defer(
        () -> {
          begin();
          watches.add(channel.watchPeer().subscribe(v -> {}, this::end));
          watches.add(channel.keepAlive().subscribe(v -> {}, this::end));
          watches.add(stop.subscribe(v -> {}, this::end, () -> end(cancelled())));
          watches.add(
              Flux.interval(spec.progressInterval(), timer)
                  .onBackpressureDrop()
                  .subscribe(tick -> report(), this::end));
          return outcome.asMono();
        });
  }

  private void report() {
    if (progress.requestedFromDownstream() > 0) {
      progress.next(info());
    }
  }

  static MigrationException cancelled() {
    return MigrationException.of(Kind.CANCELLED, "the relay was stopped");
  }

  final void watch(Disposable disposable) {
    watches.add(disposable);
  }

  /** Both directions go on while the conversation ends; they end with the connections. */
  final void attend(Mono<Void> direction) {
    direction.subscribe(v -> {}, this::end);
  }

  final void end(Throwable e) {
    outcome.tryEmitError(MigrationException.ofAny(e));
  }

  final MigrationException outOfTurn(WireRecord record) {
    return MigrationException.of(
        Kind.PROTOCOL,
        "%s sent a %s record out of turn"
            .formatted(channel.peer(), record.getClass().getSimpleName()));
  }

  /** The source's QEMU has closed its stream, and all of it has been passed on. */
  final void streamEnded() {
    streamEnded.set(true);
    if (returnEnded.get()) {
      complete();
    } else {
      watch(Mono.delay(spec.closeTimeout(), timer).subscribe(tick -> end(stillOpen())));
    }
  }

  final boolean hasReturnEnded() {
    return returnEnded.get();
  }

  /**
   * Gives a QEMU what is sent to it. That this fails says nothing more than the other direction
   * does, which ends in order if QEMU has closed the connection after reading all of it, and in
   * error if not; and only that one knows the reason.
   *
   * @return completes when all has been sent, or nothing can be any more
   */
  final Mono<Void> attendSending(Connection qemu, Flux<TransportBuffer> buffers) {
    Sinks.Empty<Void> ended = Sinks.empty();
    qemu.send(buffers)
        .onErrorComplete(MigrationException.class)
        .doFinally(signal -> ended.tryEmitEmpty())
        .subscribe(v -> {}, this::end);
    return ended.asMono();
  }

  /** The destination's QEMU has closed its side. */
  final void returnEnded() {
    returnEnded.set(true);
    if (streamEnded.get()) {
      complete();
    } else {
      // It may be through, and its source about to close; or it has failed.
      watch(Mono.delay(CLOSING, timer).subscribe(tick -> end(closedEarly())));
    }
  }

  static MigrationException closedEarly() {
    return MigrationException.of(
        Kind.TRANSPORT,
        "the destination's QEMU has closed its connection before the stream had ended:"
            + " its own messages say why");
  }

  private MigrationException stillOpen() {
    return MigrationException.of(
        Kind.TIMEOUT,
        "the destination's QEMU was given everything, but has not closed its connection within "
            + spec.closeTimeout().toSeconds()
            + " s");
  }

  private void complete() {
    statistics.completed(now());
    outcome.tryEmitEmpty();
  }

  /** Ends the conversation after everything has passed. */
  Mono<Void> finish() {
    watches.dispose();
    return channel.finish(true);
  }

  /**
   * Says that the conversation has failed. {@return whether the other side has proved to be none
   * that is waited for, so that the next one's turn has come}
   */
  boolean turnsAway(MigrationException failure) {
    return false;
  }

  /** Ends the conversation in failure. */
  Mono<Void> fail(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    watches.dispose();
    return channel.hangUp(reason, !reason.isFromPeer());
  }

  /** A copy of what a buffer holds, in pieces that a record can carry; the buffer is released. */
  static Iterable<WireRecord> pieces(TransportBuffer buffer) {
    List<WireRecord> pieces = new ArrayList<>();
    try {
      addPieces(buffer.bytes(), pieces);
    } finally {
      buffer.release();
    }
    return pieces;
  }

  static void addPieces(ByteBuffer bytes, List<WireRecord> pieces) {
    ByteBuffer rest = bytes.duplicate();
    while (rest.hasRemaining()) {
      byte[] piece = new byte[Math.min(rest.remaining(), WireLimits.MAX_STREAM_PIECE_BYTES)];
      rest.get(piece);
      pieces.add(new WireRecord.Stream(piece));
    }
  }
}
