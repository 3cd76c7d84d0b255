package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.SlabRelease;
import io.pageflux.channel.WireChannel;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.SlabPool;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.transport.Connection;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/**
 * One migration at its destination: the connections that it has one after the other, each of which
 * is an {@link IncomingConversation}, and what outlives them.
 *
 * <p>Connections follow on one another, and what is not volatile here is used by one at a time.
 */
final class IncomingSession {

  final IncomingSpec spec;
  final Mono<Void> stop;
  final MigrationRun.EventSink events;
  final GuestMemory memory;
  final Scheduler timer = Schedulers.parallel();
  final IncomingStatistics statistics;
  final HookCalls hooks;

  // Of this connection, and told by it.

  /** Where its batches are; null before any may come. */
  volatile @Nullable SlabPool pool;

  /** Whether it has proved to be the source's. */
  boolean came;

  /** Whether it may be anybody's, though one source only is awaited. */
  volatile boolean onTrial;

  /** Why it has failed, for whoever starts the guest meanwhile. */
  volatile @Nullable MigrationException broken;

  /** Whether nothing that it has said starts the guest any more. */
  volatile boolean startRuledOut;

  // What outlives it.

  /** Whether the guest is started; another one when that was ruled out, and a source is awaited. */
  TakeOver takeOver = new TakeOver();

  /** How far the migration has come; null unless it may be resumed. */
  volatile @Nullable IncomingState state;

  /** What the source may write to by itself; null for nothing. */
  WireRecord.@Nullable Offer offer;

  /** Null unless post-copy was agreed on. */
  volatile @Nullable IncomingPostcopy postcopy;

  /** Whether the guest is, or was, started before all of its pages are here. */
  volatile boolean switched;

  /** Whether the source may come back once the guest was started so. */
  volatile boolean recoverable;

  /** Whether the guest runs here, and may lack pages. Said to the source before, in any case. */
  volatile boolean runsEarly;

  /**
   * Whether all pages are here after it was started so: whatever happens to connections from then
   * on is no failure.
   */
  volatile boolean complete;

  /** Bytes that came by connections that have ended. */
  volatile long bytesBefore;

  private final MadeConnection line = new MadeConnection();

  /** Whether the source was awaited long enough. */
  private boolean gaveUp;

  /** When the connection was lost that is to be made again. */
  private long lostNanos;

  /** Why the last connection has ended. */
  private @Nullable MigrationException lastLost;

  IncomingSession(IncomingSpec spec, Mono<Void> stop, MigrationRun.EventSink events) {
    this.spec = spec;
    this.stop = stop;
    this.events = events;
    this.memory = spec.memory();
    this.statistics =
        new IncomingStatistics(memory.sizeBytes(), memory.block(0).pageSizeBytes(), now());
    if (spec.reuse()) {
      // Whoever has put something there may have done so behind the library's back.
      memory.blocks().forEach(RamBlock::takeFresh);
    }
    this.hooks = new HookCalls(spec.hooks(), spec.peerTimeout(), timer);
  }

  long now() {
    return timer.now(TimeUnit.NANOSECONDS);
  }

  Mono<MigrationInfo> run() {
    Mono<Connection> accepting = line.accept(spec.acceptor(), stop, MigrationRun::cancelled);
    return Mono.<Void>fromRunnable(this::requireNotLent)
        .then(received(accepting))
        .onErrorMap(this::withMissingPages)
        .doOnError(this::failed)
        .doFinally(signal -> line.close())
        .doOnSubscribe(s -> status(MigrationStatus.SETUP));
  }

  /** Lends the source what it may write to by itself, if anything, and says so. */
  void lend(WireChannel channel) {
    WireRecord.Offer made = offer;
    if (made != null) {
      made.blocks().forEach(block -> memory.block(block.block()).lend());
      statistics.offered(made.blocks().size());
      channel.say(made);
    }
  }

  /** {@return whether the source may write to a block by itself} */
  boolean isOffered(int blockIndex) {
    WireRecord.Offer made = offer;
    return made != null && made.blocks().stream().anyMatch(b -> b.block() == blockIndex);
  }

  /** Whoever it was lent to may write to it while another source does. */
  private void requireNotLent() {
    for (RamBlock block : memory.blocks()) {
      if (block.isLent()) {
        throw MigrationException.of(
            Kind.LAYOUT,
            "RAM block '%s' was lent to a source whose migration did not complete, and may still"
                    .formatted(block.name())
                + " write to it: close this memory and make a new one");
      }
    }
  }

  private Mono<MigrationInfo> received(Mono<Connection> accepting) {
    return Mono.usingWhen(
        Mono.fromSupplier(
            () -> Schedulers.newParallel("pageflux-decompress", spec.workers(), true)),
        threads ->
            Mono.defer(() -> conversation(onTrial ? again(accepting) : accepting, threads))
                // A loop: each stranger who connects meanwhile would make a chain longer.
                .retryWhen(
                    Retry.from(
                        ends ->
                            ends.concatMap(
                                end -> resumed(MigrationException.ofAny(end.failure())))))
                // It is here, whether its source has heard that or not.
                .onErrorResume(e -> complete ? Mono.just(statistics.info(now())) : Mono.error(e)),
        this::close);
  }

  private Mono<MigrationInfo> conversation(Mono<Connection> accepting, Scheduler threads) {
    return accepting.flatMap(
        connection ->
            Mono.usingWhen(
                Mono.fromSupplier(() -> new IncomingConversation(this, connection, threads)),
                IncomingConversation::listen,
                IncomingConversation::finish,
                IncomingConversation::fail,
                conversation -> conversation.fail(MigrationRun.cancelled())));
  }

  /** Has the source awaited once more, if the failure is only that its connection was lost. */
  private Mono<Boolean> resumed(MigrationException lost) {
    // Only if the start is ruled out: what the old connection has said starts nothing any more. Or
    // if the guest has been started: then nothing that is said starts it again.
    if (!isMendable(lost) || !(startRuledOut || runsEarly)) {
      return Mono.error(lost);
    }
    if (came) {
      if (OutgoingSession.isOfTheLine(lost)) {
        lostNanos = now();
      }
      goesOn(runsEarly ? MigrationStatus.POSTCOPY_PAUSED : MigrationStatus.RECONNECTING);
    }
    lastLost = lost;
    return slabsReleased().then(Mono.fromRunnable(this::beginAnew)).thenReturn(true);
  }

  /** Whether another connection may mend it. */
  boolean isMendable(MigrationException lost) {
    return spec.resume() != null
        && state != null
        && offer == null
        && !gaveUp
        && (!switched || recoverable)
        && (OutgoingSession.isOfTheLine(lost) || isAStrangers(lost));
  }

  /**
   * Whether a failure is nobody's who matters: whatever comes before a round begins that can follow
   * ends nothing but its connection.
   */
  private boolean isAStrangers(MigrationException lost) {
    return onTrial
        && (lost.isFromPeer() ? !came : lost.kind() != Kind.CANCELLED); // It was stopped here.
  }

  private Mono<Connection> again(Mono<Connection> accepting) {
    Duration left = Objects.requireNonNull(spec.resume()).minusNanos(now() - lostNanos);
    return left.isNegative() || left.isZero()
        ? Mono.error(this::notBack)
        : accepting.onErrorMap(this::nobodyCanCome).timeout(left, Mono.error(this::notBack), timer);
  }

  /** Nobody connects any more where nobody listens, however often one waits for it. */
  private MigrationException nobodyCanCome(Throwable e) {
    gaveUp = true;
    MigrationException reason = MigrationException.ofAny(e);
    return MigrationException.of(
        reason.kind(),
        "the source cannot come back: %s; it is lost because %s"
            .formatted(
                MigrationText.of(reason), MigrationText.of(Objects.requireNonNull(lastLost))),
        e);
  }

  private MigrationException notBack() {
    gaveUp = true;
    return MigrationException.of(
        Kind.TIMEOUT,
        "the source has not come back within %s: %s"
            .formatted(
                MigrationText.of(Objects.requireNonNull(spec.resume())),
                MigrationText.of(Objects.requireNonNull(lastLost))));
  }

  /** Nothing is left of a conversation but the pages, and the guest if it runs. */
  private void beginAnew() {
    onTrial = true;
    came = false;
    if (!runsEarly) {
      takeOver = new TakeOver();
      switched = false;
      broken = null;
      statistics.notSwitched();
      IncomingPostcopy possible = postcopy;
      if (possible != null) {
        possible.forget();
      }
    }
    startRuledOut = false;
  }

  private Mono<Void> slabsReleased() {
    return Mono.defer(
        () -> {
          SlabPool used = pool;
          return used == null ? Mono.empty() : SlabRelease.of(used, "batches");
        });
  }

  private Mono<Void> close(Scheduler threads) {
    return slabsReleased()
        // Who hears of the end hears it when the threads have been told to go, and not on them.
        .publishOn(Schedulers.boundedElastic())
        .doOnTerminate(threads::dispose);
  }

  private void failed(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    boolean cancelled = reason.kind() == Kind.CANCELLED && !reason.isFromPeer();
    MigrationStatus status =
        runsEarly
            ? MigrationStatus.POSTCOPY_PAUSED
            : cancelled ? MigrationStatus.CANCELLED : MigrationStatus.FAILED;
    statistics.ended(status, MigrationText.of(reason), now());
    events.emit(new MigrationEvent.StatusChanged(status));
  }

  /** Says of a failure in post-copy what it means for the guest, which runs here. */
  private Throwable withMissingPages(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    IncomingPostcopy used = postcopy;
    AbsentPages state = used == null ? null : used.state();
    if (!runsEarly || used == null || state == null) {
      return reason;
    }
    used.lost(reason, false);
    return MigrationException.of(
        reason.kind(),
        "%s; the guest runs here and lacks %d pages, which only the source has: keep both"
            .formatted(MigrationText.of(reason), state.missing()),
        reason);
  }

  /** It goes on in another way, unless all is here: then what follows is for the source only. */
  void goesOn(MigrationStatus status) {
    if (!complete) {
      status(status);
    }
  }

  void status(MigrationStatus status) {
    statistics.status(status);
    events.emit(new MigrationEvent.StatusChanged(status));
  }
}
