package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.RecordDecompressor;
import io.pageflux.channel.WireChannel;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Connection;
import io.pageflux.wire.Feature;
import io.pageflux.wire.LayoutCheck;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.Objects;
import java.util.UUID;
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

/**
 * The exchange of a migration's destination with one source.
 *
 * <p>The peer's records are taken one after the other: {@link #take} is the state machine that says
 * which record may come when, and what is done with it. Batches are decompressed in parallel before
 * they get there, in order. So all state here is used serially, but for what is volatile.
 */
final class IncomingConversation {

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

  private final IncomingSession migration;
  private final IncomingSpec spec;
  private final IncomingStatistics statistics;
  private final Scheduler timer;
  private final WireChannel channel;
  private final Scheduler threads;
  private final IncomingRounds rounds;
  private final DestinationGuest guest;
  private final TakeOver takeOver;

  /** Whether the guest runs already, and the source is to send what it lacks. */
  private final boolean recovers;

  private final Sinks.One<MigrationInfo> outcome = Sinks.one();
  private final Disposable.Composite watches = Disposables.composite();
  private final AtomicBoolean impatient = new AtomicBoolean();

  /** What the source is told before READY, if that is more than a few records. */
  private final Sinks.One<Flux<WireRecord>> story = Sinks.one();

  /** Held while a record is taken, so that who closes this knows that none is any more. */
  private final Object turn = new Object();

  private boolean closed;

  /** Whether what goes wrong is nothing but the end of what has ended. */
  private volatile boolean over;

  private volatile Phase phase = Phase.HELLO;
  private long features;
  private UUID session = new UUID(0, 0);
  private BatchGeometry geometry = BatchGeometry.DEFAULT;

  // Null unless post-copy was agreed on.
  private volatile @Nullable PostcopyArrivals arrivals;
  private volatile long missingTold;

  /** Whether the source has said all that it will say. */
  private volatile boolean lastWordHeard;

  private long unacknowledgedBytes;

  /**
   * @param threads decompress
   */
  IncomingConversation(IncomingSession migration, Connection connection, Scheduler threads) {
    this.migration = migration;
    this.spec = migration.spec;
    this.statistics = migration.statistics;
    this.timer = migration.timer;
    this.threads = threads;
    this.takeOver = migration.takeOver;
    this.recovers = migration.runsEarly;
    this.channel = new WireChannel(connection, spec.peerTimeout(), timer, this::end);
    this.rounds = new IncomingRounds(migration, channel, this::position);
    this.guest =
        new DestinationGuest(
            spec, takeOver, timer, this::started, this::end, outcome::tryEmitError);
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
          if (migration.onTrial) {
            watches.add(Mono.delay(greeting(), timer).subscribe(tick -> requireGreeted()));
          }
          watches.add(channel.keepAlive().subscribe(v -> {}, this::end));
          watches.add(
              migration.stop.subscribe(v -> {}, this::end, () -> end(MigrationRun.cancelled())));
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

  /** Nobody needs a lane any more when all has come: its source closes it first. */
  private void laneEnds(Throwable e) {
    if (!migration.complete) {
      end(e);
    }
  }

  private void end(Throwable e) {
    if (over) {
      return;
    }
    MigrationException reason = MigrationException.ofAny(e);
    boolean tooLate = reason.kind() == Kind.CANCELLED && !reason.isFromPeer();
    IncomingPostcopy used = migration.postcopy;
    if (!tooLate && migration.switched && !migration.complete && used != null) {
      // Also while the guest is being started, which may be what waits.
      used.lost(reason, migration.isMendable(reason));
    }
    if (!tooLate) {
      migration.broken = reason; // In this order: who starts the guest looks the other way.
    }
    if (takeOver.stop()
        || (migration.complete ? migration.recoverable : migration.runsEarly && !tooLate)) {
      outcome.tryEmitError(reason);
    } else if (takeOver.isStarting() && impatient.compareAndSet(false, true)) {
      // It is too late: what matters is whether the guest starts, and that will be heard. But
      // nobody who wants an end waits for ever.
      watches.add(Mono.delay(spec.peerTimeout(), timer).subscribe(tick -> guest.giveUpStarting(e)));
    }
  }

  private void progress() {
    channel.sayIfIdle(new WireRecord.Progress(position(), rounds.appliedPages()));
    migration.events.emit(new MigrationEvent.Progress(info()));
  }

  /** Bytes that have come, by the stream or another way. */
  private long position() {
    PostcopyArrivals used = arrivals;
    return channel.bytesRead() + statistics.placedBytes() + (used == null ? 0 : used.laneBytes());
  }

  private long totalBytes() {
    return migration.bytesBefore + position();
  }

  private MigrationInfo info() {
    count();
    return statistics.info(migration.now());
  }

  private void count() {
    statistics.received(totalBytes());
    IncomingPostcopy used = migration.postcopy;
    AbsentPages state = used == null ? null : used.state();
    if (used != null && state != null) {
      statistics.postcopy(state, used.absentPages());
    }
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
      case WireRecord.Pages pages -> pages(pages);
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
        statistics.switching(migration.now());
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
      case WireRecord.PostcopyComplete back -> heardOfAll(back);
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
    IncomingHello ours = IncomingHello.to(theirs, spec, migration.state != null);
    channel.say(ours.said());
    features = ours.agreedWith(theirs);
    requireAwaited(theirs);
    if (Feature.SHARED_MEMORY.in(features)) {
      migration.offer = ours.offer();
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

  /** Once a connection was lost, only its source may take up what it has begun. */
  private void requireAwaited(WireRecord.Hello theirs) {
    IncomingState kept = migration.state;
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
    LayoutCheck.requireSame(theirs.layout(), migration.memory.layout());
    geometry = theirs.geometry();
    LayoutCheck.requireAtMost(geometry, spec.maxGeometry());
    // Two for each worker, one that is being read and one that is being applied.
    SlabPool slabs = new SlabPool(2 * spec.workers() + 2, geometry);
    migration.pool = slabs;
    channel.expectPages(migration.memory.layout(), slabs, features);
    migration.came = true;
    IncomingPostcopy used = possiblePostcopy();
    if (recovers && used != null) {
      recover(used);
      return;
    }
    phase = Phase.BETWEEN_ROUNDS;
    migration.status(MigrationStatus.ACTIVE);
    migration.lend(channel);
    if (used != null) {
      channel.say(used.advise());
    }
    if (Feature.RESUME.in(features)) {
      channel.say(resumePoint());
    }
    if (Feature.REUSE.in(features)) {
      tell(
          Flux.defer(() -> OlderCopy.hashes(migration.memory, session))
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
    arrivals = new PostcopyArrivals(migration.memory, this::laneEnds, this::allHasCome);
    IncomingPostcopy kept = migration.postcopy;
    if (kept == null) {
      kept = new IncomingPostcopy(absentBy);
      migration.postcopy = kept;
    }
    return kept;
  }

  /** The source of the guest that runs here has come back: it hears what is missing. */
  private void recover(IncomingPostcopy used) {
    phase = Phase.MISSING_TOLD;
    migration.goesOn(MigrationStatus.POSTCOPY_RECOVER);
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
    migration.onTrial = false;
    phase = Phase.POSTCOPY;
    arrivalsFor(resume).begin(absentPages(postcopyFor(resume)), missingTold);
    migration.goesOn(MigrationStatus.POSTCOPY_ACTIVE);
  }

  private WireRecord.ResumePoint resumePoint() {
    IncomingState kept = migration.state;
    if (kept == null) {
      kept = new IncomingState(session);
      migration.state = kept;
    }
    WireRecord.ResumePoint point = kept.point();
    rounds.followOn(point);
    return point;
  }

  private IncomingPostcopy postcopyFor(WireRecord record) {
    IncomingPostcopy used = migration.postcopy;
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
    statistics.switching(migration.now());
    migration.status(MigrationStatus.DEVICE);
    requireCounts(begin.pages(), begin.deviceStateBytes());
    PostcopyArrivals coming = arrivalsFor(begin);
    coming.requireLane("begins post-copy");
    IncomingPostcopy used = postcopyFor(begin);
    migration.recoverable = Feature.POSTCOPY_RESUME.in(features);
    coming.begin(used.begin(begin), used.absentPages());
    migration.switched = true;
    statistics.switched(totalBytes());
    return takeDeviceState();
  }

  /** Every page is here. On the thread on which the last one, or word of it, came. */
  private void allHasCome() {
    IncomingPostcopy used = migration.postcopy;
    if (used == null || takeOver.take(TakeOver.Event.ALL_HERE) != TakeOver.Action.SAY_COMPLETE) {
      return;
    }
    long now = migration.now();
    boolean again = migration.complete;
    migration.complete = true;
    WireRecord completion = used.completed();
    if (!again) {
      count();
      statistics.ended(MigrationStatus.COMPLETED, null, now);
      migration.events.emit(new MigrationEvent.StatusChanged(MigrationStatus.COMPLETED));
    }
    if (migration.recoverable) {
      // The source says it back. If it does not hear it, it comes back, and hears it then.
      channel.say(completion);
    } else {
      channel.sayLast(completion);
      outcome.tryEmitValue(info());
    }
  }

  /** The source has heard that every page is here, and ends. */
  private void heardOfAll(WireRecord.PostcopyComplete back) {
    if (!migration.complete || !migration.recoverable) {
      throw outOfTurn(back);
    }
    lastWordHeard = true;
    outcome.tryEmitValue(info());
  }

  /** The source is not heard meanwhile. A hook that fails is told of as any fault is. */
  private Mono<Void> hook(Mono<Void> call, Runnable next) {
    if (migration.hooks.none()) {
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
    IncomingRound next = rounds.begin(begin);
    migration.onTrial = false;
    phase = Phase.IN_ROUND;
    if (next.last) {
      migration.status(MigrationStatus.DEVICE);
    }
    migration.events.emit(new MigrationEvent.RoundStarted(next.number, next.last, next.dirtyPages));
    return hook(
        migration.hooks.before(new MigrationHooks.Round(next.number, next.last, next.dirtyPages)),
        () -> {});
  }

  private void pages(WireRecord.Pages pages) {
    switch (phase) {
      case IN_ROUND -> rounds.apply(pages.batch());
      case POSTCOPY -> push(pages.batch());
      default -> {
        pages.batch().release();
        throw outOfTurn(pages);
      }
    }
  }

  /** Takes pages that come in the background of post-copy. */
  private void push(PageBatch batch) {
    try {
      arrivalsFor(new WireRecord.Pages(batch)).pushed(batch);
      statistics.batch(batch);
      rounds.alsoApplied(batch.size());
      unacknowledgedBytes += (long) batch.size() * batch.pageSizeBytes();
      if (unacknowledgedBytes >= PUSH_ACKNOWLEDGED_BYTES) {
        unacknowledgedBytes = 0;
        channel.say(new WireRecord.Progress(position(), rounds.appliedPages()));
      }
    } finally {
      batch.release();
    }
  }

  private Mono<Void> roundEnd(WireRecord.RoundEnd end) {
    require(Phase.IN_ROUND, end);
    RoundReport report = rounds.end(end);
    return hook(migration.hooks.after(report), () -> acknowledge(report));
  }

  private void acknowledge(RoundReport report) {
    phase = report.last() ? Phase.DEVICE_STATE : Phase.BETWEEN_ROUNDS;
    rounds.acknowledge(report);
  }

  private void deviceState(WireRecord.DeviceState piece) {
    if (phase != Phase.LISTENING) {
      require(Phase.DEVICE_STATE, piece);
    }
    guest.add(piece.bytes());
  }

  private Mono<Void> prepare(WireRecord.End end) {
    require(Phase.DEVICE_STATE, end);
    requireCounts(end.pages(), end.deviceStateBytes());
    return takeDeviceState();
  }

  private void requireCounts(long pages, long stateBytes) {
    if (pages != rounds.appliedPages() || stateBytes != guest.deviceStateBytes()) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "%d pages and %d bytes of device state were sent, but %d and %d have arrived"
              .formatted(pages, stateBytes, rounds.appliedPages(), guest.deviceStateBytes()));
    }
  }

  private Mono<Void> takeDeviceState() {
    return guest.takeDeviceState(channel).then(Mono.fromRunnable(() -> later(this::prepared)));
  }

  private void prepared() {
    phase = Phase.AWAITING_COMMIT;
    if (guest.isPrepared()) {
      channel.say(new WireRecord.Prepared(rounds.appliedPages()));
    }
  }

  private void start(WireRecord.Commit commit) {
    require(Phase.AWAITING_COMMIT, commit);
    PostcopyMemory absentBy = spec.postcopy();
    if (!migration.switched && absentBy != null) {
      absentBy.becomeWhole(); // Before the guest runs, which would wait for nothing.
    }
    guest.start();
  }

  private void started() {
    long now = migration.now();
    statistics.running(now);
    if (migration.offer != null) {
      // The source has let go of it before it said COMMIT.
      migration.memory.blocks().forEach(RamBlock::takeBack);
    }
    if (migration.switched) {
      statistics.startedEarly(totalBytes());
      migration.status(MigrationStatus.POSTCOPY_ACTIVE);
      phase = Phase.POSTCOPY;
      channel.say(new WireRecord.Running());
      // Not before: a failure that the source hears without it has the guest go on there.
      migration.runsEarly = true;
      MigrationException before = migration.broken;
      if (before != null) {
        outcome.tryEmitError(before); // The source was lost while the guest was being started.
      }
      return;
    }
    phase = Phase.RUNNING;
    statistics.received(totalBytes());
    statistics.ended(MigrationStatus.COMPLETED, null, now);
    migration.events.emit(new MigrationEvent.StatusChanged(MigrationStatus.COMPLETED));
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
    return Mono.when(
        channel.finish(!lastWordHeard), used == null ? Mono.empty() : used.close(null));
  }

  Mono<Void> fail(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    over = true;
    watches.dispose();
    statistics.received(totalBytes());
    boolean ruledOut = takeOver.stop();
    migration.startRuledOut = ruledOut;
    IncomingPostcopy used = migration.postcopy;
    if (used != null && ruledOut) {
      used.abandon(reason);
    } else if (used != null && !migration.complete) {
      used.lost(reason, migration.isMendable(reason));
    }
    PostcopyArrivals coming = arrivals;
    return Mono.whenDelayError(
            // Elsewhere: who fails here may hold what whoever has its turn waits for.
            Mono.<Void>fromRunnable(this::close).subscribeOn(Schedulers.boundedElastic()),
            migration.complete
                ? channel.finish(true) // who has everything says nothing but that
                : channel.hangUp(reason, (ruledOut || migration.switched) && !reason.isFromPeer()),
            coming == null ? Mono.empty() : coming.close(migration.complete ? null : reason))
        .doFinally(signal -> migration.bytesBefore = totalBytes());
  }
}
