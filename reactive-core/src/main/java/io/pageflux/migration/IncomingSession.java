package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.RecordDecompressor;
import io.pageflux.channel.SlabRelease;
import io.pageflux.channel.WireChannel;
import io.pageflux.codec.DeltaDecoder;
import io.pageflux.codec.PageLoader;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Connection;
import io.pageflux.wire.Feature;
import io.pageflux.wire.LayoutCheck;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/**
 * One migration at its destination.
 *
 * <p>The peer's records are taken one after the other: {@link #next} is the state machine that says
 * which record may come when, and what is done with it. Batches are decompressed in parallel before
 * they get there, in order. So all state here is used serially, but for what is volatile.
 */
final class IncomingSession {

  /** How long who connects may take to say that it is the source that is awaited. */
  private static final Duration GREETING = Duration.ofSeconds(5);

  /**
   * After so many bytes of pushed pages the source is told: less than its window, which is 1 MiB at
   * the least.
   */
  static final long PUSH_ACKNOWLEDGED_BYTES = 256 << 10;

  /** What the source may say next. */
  private enum Phase {
    HELLO,
    LAYOUT,
    BETWEEN_ROUNDS,
    IN_ROUND,
    DEVICE_STATE,
    AWAITING_COMMIT,
    RUNNING,
    LISTENING,
    POSTCOPY,
    /** The source has come back after the switch, and is told what is missing. */
    MISSING_TOLD,
    /** It connects the lane again. */
    RECOVERING
  }

  private final IncomingSpec spec;
  private final Mono<Void> stop;
  private final MigrationRun.EventSink events;
  private final GuestMemory memory;
  private final Scheduler timer = Schedulers.parallel();
  private final IncomingStatistics statistics;
  private volatile Phase phase = Phase.HELLO;
  private volatile @Nullable SlabPool pool;
  private final MadeConnection line = new MadeConnection();

  private long features;
  private int rounds;
  private @Nullable IncomingRound round; // From its beginning on, until the next one's.
  private final List<byte[]> deviceState = new ArrayList<>();
  private long deviceStateBytes;
  private WireRecord.@Nullable Offer offer;
  private final HookCalls hooks;
  private UUID session = new UUID(0, 0);
  private BatchGeometry geometry = BatchGeometry.DEFAULT;

  // Null unless it was agreed on.
  private volatile @Nullable IncomingPostcopy postcopy;

  /** Whether the guest is, or was, started before all of its pages are here. */
  private volatile boolean switched;

  /** Whether the source may come back once the guest was started so. */
  private volatile boolean recoverable;

  /** Whether the guest runs here, and may lack pages. Said to the source before, in any case. */
  private volatile boolean runsEarly;

  /** Whether the guest is started; another one when that was ruled out, and a source is awaited. */
  private TakeOver takeOver = new TakeOver();

  /** Bytes that came by connections that have ended. */
  private volatile long bytesBefore;

  /** What outlives a connection; null unless that was agreed on. */
  private volatile @Nullable IncomingState state;

  /** Whether nothing that the last connection has said starts the guest any more. */
  private volatile boolean startRuledOut;

  /** Whether the source was awaited long enough. */
  private boolean gaveUp;

  /** When the connection was lost that is to be made again. */
  private long lostNanos;

  /** Whether the connection may be anybody's, though one source only is awaited. */
  private volatile boolean onTrial;

  /** Why the last connection has ended. */
  private @Nullable MigrationException lastLost;

  /** Whether the connection has proved to be the source's. */
  private boolean came;

  private volatile boolean complete;
  private volatile @Nullable MigrationException broken;

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

  private long now() {
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
                                end -> resumed(MigrationException.ofAny(end.failure()))))),
        this::close);
  }

  private Mono<MigrationInfo> conversation(Mono<Connection> accepting, Scheduler threads) {
    return accepting.flatMap(
        connection ->
            Mono.usingWhen(
                Mono.fromSupplier(() -> new Conversation(connection, threads)),
                Conversation::listen,
                Conversation::finish,
                Conversation::fail,
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
      status(runsEarly ? MigrationStatus.POSTCOPY_PAUSED : MigrationStatus.RECONNECTING);
    }
    lastLost = lost;
    return slabsReleased().then(Mono.fromRunnable(this::beginAnew)).thenReturn(true);
  }

  /** Whether another connection may mend it. */
  private boolean isMendable(MigrationException lost) {
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
        : accepting.timeout(left, Mono.error(this::notBack), timer);
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
    phase = Phase.HELLO;
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
    round = null;
    deviceState.clear();
    deviceStateBytes = 0;
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

  private void status(MigrationStatus status) {
    statistics.status(status);
    events.emit(new MigrationEvent.StatusChanged(status));
  }

  /** The exchange with one source. */
  private final class Conversation {

    private final Sinks.One<MigrationInfo> outcome = Sinks.one();
    private final TakeOver takeOver = IncomingSession.this.takeOver;

    /** Whether the guest runs already, and the source is to send what it lacks. */
    private final boolean recovers = runsEarly;

    /** Held while a record is taken, so that who closes this knows that none is any more. */
    private final Object turn = new Object();

    private boolean closed;

    /** Whether what goes wrong is nothing but the end of what has ended. */
    private volatile boolean over;

    /** What the source is told before READY, if that is more than a few records. */
    private final Sinks.One<Flux<WireRecord>> story = Sinks.one();

    // Null unless post-copy was agreed on.
    private volatile @Nullable PostcopyArrivals arrivals;
    private volatile long missingTold;

    private final WireChannel channel;
    private final Scheduler threads;
    private final PageLoader loader = new PageLoader(memory);
    private final DeltaDecoder deltas = new DeltaDecoder();
    private final Disposable.Composite watches = Disposables.composite();
    private final AtomicBoolean impatient = new AtomicBoolean();
    private volatile long appliedPages;
    private long placedInRound;
    private long unacknowledgedBytes;

    Conversation(Connection connection, Scheduler threads) {
      this.channel = new WireChannel(connection, spec.peerTimeout(), timer, this::end);
      this.threads = threads;
    }

    Mono<MigrationInfo> listen() {
      return Mono.defer(
          () -> {
            attend(channel.send(script(), Function.identity()));
            attend(
                channel
                    .receive()
                    .doOnNext(this::count)
                    .transform(RecordDecompressor.of(channel, spec.workers(), threads))
                    .concatMap(this::next, 0)
                    .then());
            watches.add(channel.watchPeer().subscribe(v -> {}, this::end));
            if (onTrial) {
              watches.add(Mono.delay(greeting(), timer).subscribe(tick -> requireGreeted()));
            }
            watches.add(channel.keepAlive().subscribe(v -> {}, this::end));
            watches.add(stop.subscribe(v -> {}, this::end, () -> end(MigrationRun.cancelled())));
            watches.add(
                Flux.interval(spec.progressInterval(), timer)
                    .onBackpressureDrop()
                    .subscribe(tick -> progress(), this::end));
            return outcome.asMono();
          });
    }

    /** Nothing but control records goes this way, unless there is more to tell of. */
    private Flux<WireRecord> script() {
      return Flux.concat(
          story
              .asMono()
              .publishOn(Schedulers.boundedElastic())
              .flatMapMany(told -> told.subscribeOn(Schedulers.boundedElastic())),
          Flux.never());
    }

    private void attend(Mono<Void> direction) {
      direction.subscribe(v -> {}, this::end);
    }

    private void end(Throwable e) {
      if (over) {
        return;
      }
      MigrationException reason = MigrationException.ofAny(e);
      boolean tooLate = reason.kind() == Kind.CANCELLED && !reason.isFromPeer();
      IncomingPostcopy used = postcopy;
      if (!tooLate && switched && !complete && used != null) {
        // Also while the guest is being started, which may be what waits.
        used.lost(reason, isMendable(reason));
      }
      if (!tooLate) {
        broken = reason; // In this order: who starts the guest looks the other way.
      }
      if (takeOver.stop() || (runsEarly && !complete && !tooLate)) {
        outcome.tryEmitError(reason);
      } else if (takeOver.isStarting() && impatient.compareAndSet(false, true)) {
        // It is too late: what matters is whether the guest starts, and that will be heard. But
        // nobody who wants an end waits for ever.
        watches.add(Mono.delay(spec.peerTimeout(), timer).subscribe(tick -> giveUpStarting(e)));
      }
    }

    private void giveUpStarting(Throwable e) {
      unclear(
          "the guest has not said for %s whether it has started, and the migration ends: %s"
              .formatted(MigrationText.of(spec.peerTimeout()), MigrationText.of(e)),
          e);
    }

    /** Nobody may be told that the guest does not run here. */
    private void unclear(String what, Throwable e) {
      if (takeOver.take(TakeOver.Event.UNCLEAR) != null) {
        outcome.tryEmitError(
            MigrationException.of(
                Kind.GUEST,
                what + "; it may run here: look whether it does before it is resumed at the source",
                e));
      }
    }

    private void progress() {
      channel.sayIfIdle(new WireRecord.Progress(position(), appliedPages));
      events.emit(new MigrationEvent.Progress(info()));
    }

    /** Bytes that have come, by the stream or another way. */
    private long position() {
      PostcopyArrivals used = arrivals;
      return channel.bytesRead() + statistics.placedBytes() + (used == null ? 0 : used.laneBytes());
    }

    private long totalBytes() {
      return bytesBefore + position();
    }

    private MigrationInfo info() {
      statistics.received(totalBytes());
      IncomingPostcopy used = postcopy;
      AbsentPages state = used == null ? null : used.state();
      if (used != null && state != null) {
        statistics.postcopy(state, used.absentPages());
      }
      return statistics.info(now());
    }

    private void count(WireRecord record) {
      if (record instanceof WireRecord.Pages pages) {
        statistics.arrived(pages.batch());
      }
    }

    /** Takes the next record. {@return what has to be done before the one after it is taken} */
    private Mono<Void> next(WireRecord record) {
      synchronized (turn) {
        if (closed || channel.isOver()) {
          RecordDecompressor.release(record);
          return Mono.empty();
        }
        try {
          return take(record);
        } catch (RuntimeException | VirtualMachineError e) {
          // If not even memory were told of, the connection's thread would swallow it.
          channel.endOver(MemoryFault.written(e));
          return Mono.empty();
        }
      }
    }

    /** What follows on something that took its time, unless this has been closed meanwhile. */
    private void later(Runnable next) {
      synchronized (turn) {
        if (!closed) {
          next.run();
        }
      }
    }

    private Mono<Void> take(WireRecord record) {
      switch (record) {
        case WireRecord.Pages pages -> {
          if (phase == Phase.POSTCOPY) {
            push(pages.batch());
          } else {
            apply(pages.batch());
          }
        }
        case WireRecord.Hello hello -> hello(hello);
        case WireRecord.Layout layout -> layout(layout);
        case WireRecord.RoundBegin begin -> {
          return roundBegin(begin);
        }
        case WireRecord.RoundEnd end -> {
          return roundEnd(end);
        }
        case WireRecord.DeviceState piece -> deviceState(piece);
        case WireRecord.End end -> {
          return prepare(end);
        }
        case WireRecord.Commit commit -> start(commit);
        case WireRecord.PostcopyListen listen -> listen(listen);
        case WireRecord.Discard discard -> {
          require(Phase.LISTENING, discard);
          statistics.switching(now());
          arrivalsFor(discard).requireLane("says what is absent");
          postcopyFor(discard).discard(discard);
        }
        case WireRecord.PostcopyBegin begin -> {
          return beginPostcopy(begin);
        }
        case WireRecord.PostcopyEnd end -> {
          require(Phase.POSTCOPY, end);
          arrivalsFor(end).end(end);
        }
        case WireRecord.PostcopyResume resume -> resumePostcopy(resume);
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
      WireRecord.Offer possible =
          spec.sharedMemory() && state == null ? SharedFiles.offer(memory) : null;
      WireRecord.Hello ours =
          new WireRecord.Hello(
              WireLimits.VERSION,
              WireLimits.VERSION,
              Feature.migration()
                  | (possible == null ? 0 : Feature.SHARED_MEMORY.mask())
                  | (spec.postcopy() == null ? 0 : Feature.POSTCOPY.mask())
                  | (spec.resume() == null ? 0 : Feature.RESUME.mask())
                  | (spec.postcopy() == null || spec.resume() == null
                      ? 0
                      : Feature.POSTCOPY_RESUME.mask())
                  | (reuses(possible) ? Feature.REUSE.mask() : 0),
              0,
              theirs.session(),
              theirs.channel(),
              theirs.channels(),
              WireLimits.SOFTWARE);
      // Even if they do not suit one another the peer is to know what we are.
      channel.say(ours);
      features = Negotiation.of(ours, theirs).features();
      if (theirs.channels() != 1) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "the source wants to use %d connections, but this side can use only one"
                .formatted(theirs.channels()));
      }
      requireAwaited(theirs);
      if (Feature.SHARED_MEMORY.in(features)) {
        offer = possible;
      }
      session = theirs.session();
      phase = Phase.LAYOUT;
    }

    private Duration greeting() {
      return GREETING.compareTo(spec.peerTimeout()) < 0 ? GREETING : spec.peerTimeout();
    }

    private void requireGreeted() {
      if (phase == Phase.HELLO || phase == Phase.LAYOUT) {
        end(
            MigrationException.of(
                Kind.TIMEOUT,
                "%s has not said within %s that it is the source that is awaited"
                    .formatted(channel.peer(), MigrationText.of(greeting()))));
      }
    }

    private boolean reuses(WireRecord.@Nullable Offer possible) {
      return spec.reuse() && state == null && possible == null && spec.postcopy() == null;
    }

    /** Once a connection was lost, only its source may take up what it has begun. */
    private void requireAwaited(WireRecord.Hello theirs) {
      IncomingState kept = state;
      Feature needed = recovers ? Feature.POSTCOPY_RESUME : Feature.RESUME;
      if (kept != null && !(needed.in(features) && kept.session.equals(theirs.session()))) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            // Not whose: who knows the session is taken for its source.
            "this side awaits the source of another migration, whose connection was lost");
      }
    }

    private void layout(WireRecord.Layout theirs) {
      require(Phase.LAYOUT, theirs);
      LayoutCheck.requireSame(theirs.layout(), memory.layout());
      BatchGeometry geometry = theirs.geometry();
      LayoutCheck.requireAtMost(geometry, spec.maxGeometry());
      // Two for each worker, one that is being read and one that is being applied.
      this.takes(geometry);
      SlabPool slabs = new SlabPool(2 * spec.workers() + 2, geometry);
      pool = slabs;
      channel.expectPages(memory.layout(), slabs, features);
      came = true;
      IncomingPostcopy used = possiblePostcopy();
      if (recovers && used != null) {
        recover(used);
        return;
      }
      phase = Phase.BETWEEN_ROUNDS;
      status(MigrationStatus.ACTIVE);
      lend();
      if (used != null) {
        channel.say(used.advise());
      }
      if (Feature.RESUME.in(features)) {
        channel.say(resumePoint());
      }
      if (Feature.REUSE.in(features)) {
        tell(
            Flux.defer(() -> OlderCopy.hashes(memory, session))
                .concatWithValues(new WireRecord.Ready()));
      } else {
        channel.say(new WireRecord.Ready());
      }
    }

    private void tell(Flux<WireRecord> told) {
      story.tryEmitValue(told);
    }

    /** {@return the part in post-copy that has been there, or a new one; null without post-copy} */
    private @Nullable IncomingPostcopy possiblePostcopy() {
      PostcopyMemory absentBy = spec.postcopy();
      if (absentBy == null || !Feature.POSTCOPY.in(features)) {
        return null;
      }
      arrivals = new PostcopyArrivals(memory, this::end, this::allHasCome);
      IncomingPostcopy kept = postcopy;
      if (kept == null) {
        kept = new IncomingPostcopy(absentBy);
        postcopy = kept;
      }
      return kept;
    }

    /** The source of the guest that runs here has come back: it hears what is missing. */
    private void recover(IncomingPostcopy used) {
      phase = Phase.MISSING_TOLD;
      status(MigrationStatus.POSTCOPY_RECOVER);
      tell(
          Flux.defer(
              () -> {
                MemoryPages missing = absentPages(used).missingPages();
                missingTold = missing.cardinality();
                return used.told(missing);
              }));
    }

    private AbsentPages absentPages(IncomingPostcopy used) {
      return Objects.requireNonNull(used.state(), "no page is absent");
    }

    private void resumePostcopy(WireRecord.PostcopyResume resume) {
      require(Phase.RECOVERING, resume);
      if (resume.missingPages() != missingTold) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "%s means to send %d pages, but was told that %d are missing"
                .formatted(channel.peer(), resume.missingPages(), missingTold));
      }
      onTrial = false;
      phase = Phase.POSTCOPY;
      arrivalsFor(resume).begin(absentPages(postcopyFor(resume)), missingTold);
      status(MigrationStatus.POSTCOPY_ACTIVE);
    }

    private WireRecord.ResumePoint resumePoint() {
      IncomingState kept = state;
      if (kept == null) {
        kept = new IncomingState(session);
        state = kept;
      }
      WireRecord.ResumePoint point = kept.point();
      rounds = point.round();
      return point;
    }

    private void takes(BatchGeometry agreed) {
      geometry = agreed;
    }

    private IncomingPostcopy postcopyFor(WireRecord record) {
      IncomingPostcopy used = postcopy;
      if (used == null) {
        throw outOfTurn(record);
      }
      return used;
    }

    private PostcopyArrivals arrivalsFor(WireRecord record) {
      PostcopyArrivals used = arrivals;
      if (used == null) {
        throw outOfTurn(record);
      }
      return used;
    }

    private void listen(WireRecord.PostcopyListen listen) {
      require(recovers ? Phase.MISSING_TOLD : Phase.BETWEEN_ROUNDS, listen);
      arrivalsFor(listen).listen(spec.acceptor(), session, geometry, spec.peerTimeout(), timer);
      phase = recovers ? Phase.RECOVERING : Phase.LISTENING;
    }

    private Mono<Void> beginPostcopy(WireRecord.PostcopyBegin begin) {
      require(Phase.LISTENING, begin);
      statistics.switching(now());
      status(MigrationStatus.DEVICE);
      requireCounts(begin.pages(), begin.deviceStateBytes());
      PostcopyArrivals coming = arrivalsFor(begin);
      coming.requireLane("begins post-copy");
      IncomingPostcopy used = postcopyFor(begin);
      recoverable = Feature.POSTCOPY_RESUME.in(features);
      coming.begin(used.begin(begin), used.absentPages());
      switched = true;
      statistics.switched(totalBytes());
      return takeDeviceState();
    }

    /** Every page is here. On the thread on which the last one, or word of it, came. */
    private void allHasCome() {
      IncomingPostcopy used = postcopy;
      if (used == null) {
        return;
      }
      long now = now();
      complete = true;
      WireRecord completion = used.completed();
      statistics.ended(MigrationStatus.COMPLETED, null, now);
      events.emit(new MigrationEvent.StatusChanged(MigrationStatus.COMPLETED));
      channel.sayLast(completion);
      outcome.tryEmitValue(info());
    }

    private void lend() {
      WireRecord.Offer made = offer;
      if (made != null) {
        made.blocks().forEach(block -> memory.block(block.block()).lend());
        statistics.offered(made.blocks().size());
        channel.say(made);
      }
    }

    private boolean isOffered(int blockIndex) {
      WireRecord.Offer made = offer;
      return made != null && made.blocks().stream().anyMatch(b -> b.block() == blockIndex);
    }

    /** The source is not heard meanwhile. A hook that fails is told of as any fault is. */
    private Mono<Void> hook(Mono<Void> call, Runnable next) {
      if (hooks.none()) {
        next.run();
        return Mono.empty();
      }
      return channel
          .busy(call)
          .then(Mono.<Void>fromRunnable(() -> later(next)))
          .onErrorResume(
              e -> {
                channel.endOver(e);
                return Mono.empty();
              });
    }

    private Mono<Void> roundBegin(WireRecord.RoundBegin begin) {
      require(Phase.BETWEEN_ROUNDS, begin);
      IncomingRound next =
          new IncomingRound(begin, rounds, totalPages(), statistics.kinds(), position(), now());
      onTrial = false;
      round = next;
      rounds = next.number;
      IncomingState kept = state;
      if (kept != null) {
        kept.begin(next.number);
      }
      statistics.roundBegan(next.last, next.dirtyPages, now());
      phase = Phase.IN_ROUND;
      if (next.last) {
        status(MigrationStatus.DEVICE);
      }
      events.emit(new MigrationEvent.RoundStarted(next.number, next.last, next.dirtyPages));
      return hook(
          hooks.before(new MigrationHooks.Round(next.number, next.last, next.dirtyPages)),
          () -> {});
    }

    private long totalPages() {
      return memory.blocks().stream().mapToLong(RamBlock::pageCount).sum();
    }

    private IncomingRound roundFor(WireRecord record) {
      IncomingRound current = round;
      if (phase != Phase.IN_ROUND || current == null) {
        throw outOfTurn(record);
      }
      return current;
    }

    private void apply(PageBatch batch) {
      try {
        roundFor(new WireRecord.Pages(batch)).expect(batch.size());
        int placed = batch.count(PageKind.PLACED);
        if (placed > 0 && !isOffered(batch.blockIndex())) {
          throw MigrationException.of(
              Kind.PROTOCOL,
              "%s says that it has placed pages in block %d, which was not offered to it"
                  .formatted(channel.peer(), batch.blockIndex()));
        }
        statistics.batch(batch);
        deltas.expand(batch, memory);
        loader.load(batch);
        IncomingState kept = state;
        if (kept != null) {
          kept.applied(batch);
        }
        IncomingPostcopy possible = postcopy;
        if (possible != null) {
          possible.received(batch);
        }
        // What was placed is sure to be there when the source says that the round is complete.
        appliedPages += batch.size() - placed;
        placedInRound += placed;
      } finally {
        batch.release();
      }
    }

    /** Takes pages that come in the background of post-copy. */
    private void push(PageBatch batch) {
      try {
        arrivalsFor(new WireRecord.Pages(batch)).pushed(batch);
        statistics.batch(batch);
        appliedPages += batch.size();
        unacknowledgedBytes += (long) batch.size() * batch.pageSizeBytes();
        if (unacknowledgedBytes >= PUSH_ACKNOWLEDGED_BYTES) {
          unacknowledgedBytes = 0;
          channel.say(new WireRecord.Progress(position(), appliedPages));
        }
      } finally {
        batch.release();
      }
    }

    private Mono<Void> roundEnd(WireRecord.RoundEnd end) {
      RoundReport report = roundFor(end).report(end, statistics.kinds(), position(), now());
      appliedPages += placedInRound;
      placedInRound = 0;
      return hook(hooks.after(report), () -> acknowledge(report));
    }

    private void acknowledge(RoundReport report) {
      statistics.round(report);
      IncomingState kept = state;
      if (kept != null) {
        kept.complete();
      }
      phase = report.last() ? Phase.DEVICE_STATE : Phase.BETWEEN_ROUNDS;
      channel.say(
          new WireRecord.RoundAck(
              report.round(), report.zeroPages() + report.rawPages() + report.deltaPages()));
      events.emit(new MigrationEvent.RoundCompleted(report));
    }

    private void deviceState(WireRecord.DeviceState piece) {
      if (phase != Phase.LISTENING) {
        require(Phase.DEVICE_STATE, piece);
      }
      deviceStateBytes += piece.bytes().length;
      if (deviceStateBytes > spec.maxDeviceStateBytes()) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "the guest's device state is longer than " + spec.maxDeviceStateBytes() + " bytes");
      }
      deviceState.add(piece.bytes());
    }

    private Mono<Void> prepare(WireRecord.End end) {
      require(Phase.DEVICE_STATE, end);
      requireCounts(end.pages(), end.deviceStateBytes());
      return takeDeviceState();
    }

    private void requireCounts(long pages, long stateBytes) {
      if (pages != appliedPages || stateBytes != deviceStateBytes) {
        throw MigrationException.of(
            Kind.INTEGRITY,
            "%d pages and %d bytes of device state were sent, but %d and %d have arrived"
                .formatted(pages, stateBytes, appliedPages, deviceStateBytes));
      }
    }

    private Mono<Void> takeDeviceState() {
      if (takeOver.take(TakeOver.Event.END) != TakeOver.Action.LOAD_STATE) {
        throw MigrationRun.cancelled();
      }
      return channel
          .busy(
              SafeCall.on(
                      Schedulers.boundedElastic(),
                      () -> spec.guest().loadDeviceState(Flux.fromIterable(deviceState)))
                  .onErrorMap(e -> SourceGuest.failure("take its device state", e)))
          .then(Mono.fromRunnable(() -> later(this::prepared)));
    }

    private void prepared() {
      deviceState.clear();
      phase = Phase.AWAITING_COMMIT;
      if (takeOver.take(TakeOver.Event.LOADED) == TakeOver.Action.SAY_PREPARED) {
        channel.say(new WireRecord.Prepared(appliedPages));
      }
    }

    /**
     * Starts the guest. Not for the sake of the connection: once it was begun it neither ends with
     * the connection nor with the subscription, and its result alone is the migration's.
     */
    private void start(WireRecord.Commit commit) {
      require(Phase.AWAITING_COMMIT, commit);
      if (takeOver.take(TakeOver.Event.COMMIT) != TakeOver.Action.START_GUEST) {
        throw MigrationRun.cancelled();
      }
      SafeCall.on(Schedulers.boundedElastic(), spec.guest()::resume)
          .subscribe(nothing -> {}, this::startFailed, this::started);
    }

    /** It must not run here if the source is told that it does not. */
    private void startFailed(Throwable e) {
      SafeCall.on(Schedulers.boundedElastic(), spec.guest()::pause)
          .timeout(spec.peerTimeout(), timer)
          .subscribe(nothing -> {}, unstopped -> startUnclear(e, unstopped), () -> notStarted(e));
    }

    private void startUnclear(Throwable e, Throwable unstopped) {
      unclear(
          "%s; and it could not be stopped: %s"
              .formatted(
                  MigrationText.of(SourceGuest.failure("start", e)), MigrationText.of(unstopped)),
          e);
    }

    private void notStarted(Throwable e) {
      takeOver.take(TakeOver.Event.NOT_STARTED);
      end(SourceGuest.failure("start", e));
    }

    private void started() {
      if (takeOver.take(TakeOver.Event.STARTED) != TakeOver.Action.SAY_RUNNING) {
        return; // It was given up.
      }
      long now = now();
      statistics.running(now);
      if (offer != null) {
        // The source has let go of it before it said COMMIT.
        memory.blocks().forEach(RamBlock::takeBack);
      }
      if (switched) {
        statistics.startedEarly(totalBytes());
        status(MigrationStatus.POSTCOPY_ACTIVE);
        phase = Phase.POSTCOPY;
        channel.say(new WireRecord.Running());
        // Not before: a failure that the source hears without it has the guest go on there.
        runsEarly = true;
        MigrationException before = broken;
        if (before != null) {
          outcome.tryEmitError(before); // The source was lost while the guest was being started.
        }
        return;
      }
      phase = Phase.RUNNING;
      statistics.received(totalBytes());
      statistics.ended(MigrationStatus.COMPLETED, null, now);
      events.emit(new MigrationEvent.StatusChanged(MigrationStatus.COMPLETED));
      channel.sayLast(new WireRecord.Running());
      outcome.tryEmitValue(info());
    }

    private void close() {
      synchronized (turn) {
        closed = true;
      }
    }

    Mono<Void> finish() {
      over = true;
      watches.dispose();
      PostcopyArrivals used = arrivals;
      return Mono.when(channel.finish(true), used == null ? Mono.empty() : used.close(null));
    }

    Mono<Void> fail(Throwable e) {
      MigrationException reason = MigrationException.ofAny(e);
      over = true;
      watches.dispose();
      statistics.received(totalBytes());
      boolean ruledOut = takeOver.stop();
      startRuledOut = ruledOut;
      IncomingPostcopy used = postcopy;
      if (used != null && ruledOut) {
        used.abandon(reason);
      } else if (used != null && !complete) {
        used.lost(reason, isMendable(reason));
      }
      PostcopyArrivals coming = arrivals;
      return Mono.whenDelayError(
              // Elsewhere: who fails here may hold what whoever has its turn waits for.
              Mono.<Void>fromRunnable(this::close).subscribeOn(Schedulers.boundedElastic()),
              channel.hangUp(reason, (ruledOut || switched) && !reason.isFromPeer()),
              coming == null ? Mono.empty() : coming.close(reason))
          .doFinally(signal -> bytesBefore = totalBytes());
    }
  }
}
