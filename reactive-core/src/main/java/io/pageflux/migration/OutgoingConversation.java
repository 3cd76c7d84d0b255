package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.WireChannel;
import io.pageflux.convergence.ConvergenceControl;
import io.pageflux.convergence.ConvergenceMeter;
import io.pageflux.operator.BandwidthLimit;
import io.pageflux.postcopy.OwedPages;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * The exchange of a migration's source with its peer.
 *
 * <p>What the source has to say is one flux of records, the {@linkplain #script() script}: each
 * part of it begins when the peer has answered the part before. What the peer says completes the
 * sinks that the script waits for. The script's parts run one after the other, so what they share
 * needs no lock; what crosses threads is volatile or in {@link OutgoingStatistics}.
 *
 * <p>The first thing that goes wrong, wherever, ends the {@link #outcome}; the rest is clean-up, in
 * which the guest is resumed unless the hand-over was committed, and let off its throttle in any
 * case.
 */
final class OutgoingConversation {

  /** Whoever allows so much time does not care for a second. */
  private static final Duration LONG = Duration.ofDays(1);

  private final OutgoingSession migration;
  private final OutgoingSpec spec;
  private final MigrationRun.EventSink events;
  private final OutgoingStatistics statistics;
  private final DirtyLedger ledger;
  private final OutgoingConvergence convergence;
  private final OutgoingControl control;
  private final OutgoingState state;

  private final Sinks.One<MigrationInfo> outcome = Sinks.one();
  private final Answer<Negotiation> agreed = new Answer<>();
  private final Answer<WireRecord.Offer> offer = new Answer<>();
  private final Answer<WireRecord.ResumePoint> resumePoint = new Answer<>();
  private final Answer<WireRecord> ready = new Answer<>();

  private final HandOver handOver;

  /** Whether the guest was given up, and this is to go on with a post-copy. */
  private final boolean recovers;

  // What the destination says that it lacks; null if it has not said that the guest runs there.
  private volatile @Nullable LackingPages lacking;

  private volatile long features;
  private ConvergenceControl.@Nullable Outcome decision;

  private final OutgoingResources resources;
  private final WireChannel channel;
  private final SourceGuest guest;
  private final Placing placing;
  private final OutgoingRounds rounds;
  private final OutgoingSwitchOver switchOver;
  private final OutgoingPostcopy postcopy;
  private final Answer<WireRecord> running = new Answer<>();
  // Why pre-copy is to be left for post-copy; null if it is not.
  private volatile @Nullable String postcopyReason;
  private volatile boolean switching;
  private volatile boolean inPostcopy;

  /** Whether this side has said the last word, and the destination cuts the line. */
  private volatile boolean lastWordIsHere;

  private volatile WireRecord.@Nullable Offer offered;
  private volatile WireRecord.@Nullable ResumePoint resumeFrom;
  // Null unless the destination has an older copy.
  private volatile @Nullable ReusedPages reused;

  /** When the destination was last asked something before the first round. */
  private volatile long askedNanos;

  private final long bytesBefore;
  private final long requestsBefore;
  private final long pagesBefore;
  private final Disposable.Composite watches = Disposables.composite();

  OutgoingConversation(
      OutgoingSession migration, Connection connection, OutgoingResources resources) {
    this.migration = migration;
    this.spec = migration.spec;
    this.events = migration.events;
    this.statistics = migration.statistics;
    this.resources = resources;
    this.state = migration.state;
    this.ledger = state.ledger;
    this.bytesBefore = state.bytesBefore;
    this.requestsBefore = state.requestsBefore;
    OpenHandOver open = state.open;
    this.recovers = open != null;
    this.inPostcopy = recovers;
    this.pagesBefore = statistics.kinds().total();
    this.control = migration.control;
    this.placing = new Placing(spec, resources, statistics, migration.timer, this::end);
    OutgoingPages pages =
        new OutgoingPages(
            resources, statistics, placing, migration.controlled ? control : null, migration.timer);
    this.postcopy =
        new OutgoingPostcopy(
            spec,
            resources,
            statistics,
            state.session,
            migration.timer,
            this::end,
            open == null ? null : open.owed());
    this.channel = new WireChannel(connection, spec.peerTimeout(), migration.timer, this::end);
    this.handOver = open == null ? new HandOver() : open.handOver();
    this.guest =
        open == null
            ? new SourceGuest(
                spec.guest(), handOver, resources.scanThread, migration.timer, spec.peerTimeout())
            : open.guest();
    this.convergence =
        new OutgoingConvergence(
            spec,
            resources.tracker,
            ledger,
            statistics,
            events,
            pages,
            this::position,
            this::now,
            control,
            resources.scanThread,
            migration.timer);
    this.rounds =
        new OutgoingRounds(
            migration,
            resources,
            convergence,
            pages,
            placing,
            new HookCalls(spec.lifecycle().hooks(), spec.peerTimeout(), migration.timer),
            channel,
            this::position);
    this.switchOver =
        new OutgoingSwitchOver(
            migration,
            resources,
            guest,
            handOver,
            convergence,
            placing,
            channel,
            rounds::sentPages);
  }

  /** Bytes that were sent, by the stream or another way. */
  private long position() {
    return bytesBefore
        + channel.bytesWritten()
        + postcopy.bytesWritten()
        + statistics.placedBytes();
  }

  private long now() {
    return migration.now();
  }

  Mono<MigrationInfo> lead() {
    return Mono.defer(
        () -> {
          migration.running.begin(this);
          attend(channel.receive().doOnNext(this::heard).then());
          resources.whenScanThreadFails(e -> end(SafeCall.bearable(e)));
          attend(channel.send(script(), this::limitBandwidth));
          watches.add(channel.watchPeer().subscribe(v -> {}, this::end));
          watches.add(channel.keepAlive().subscribe(v -> {}, this::end));
          watches.add(
              migration.stop.subscribe(v -> {}, this::end, () -> end(MigrationRun.cancelled())));
          watches.add(
              Flux.interval(spec.progressInterval(), migration.timer)
                  .onBackpressureDrop()
                  .subscribe(tick -> events.emit(new MigrationEvent.Progress(info()))));
          watches.add(watchPeriods());
          return outcome
              .asMono()
              // The migration is over; a guest that stays throttled where it does not run is told
              // of.
              .delayUntil(info -> convergence.liftThrottle().onErrorComplete())
              .map(info -> info());
        });
  }

  /** Looks into rounds that are under way. */
  private Disposable watchPeriods() {
    return Flux.interval(ConvergenceMeter.PERIOD, migration.timer)
        .onBackpressureDrop()
        .concatMap(tick -> Mono.defer(this::period).subscribeOn(resources.scanThread), 1)
        .subscribe(v -> {}, this::end);
  }

  /** The time that is allowed ends within a second, but not at the end of one. */
  private void watchTimeout(Duration left) {
    if (left.compareTo(LONG) < 0) {
      watches.add(
          Mono.delay(left.isNegative() ? Duration.ZERO : left, migration.timer)
              .then(Mono.defer(this::period).subscribeOn(resources.scanThread))
              .subscribe(v -> {}, this::end));
    }
  }

  private Mono<Void> period() {
    return outcomeIsKnown() || postcopyReason != null
        ? Mono.empty()
        : convergence
            .period()
            .map(OutgoingConversation::requireNoAbort)
            .filter(made -> made.action() == ConvergenceControl.Action.START_POSTCOPY)
            .doOnNext(made -> postcopyReason = made.reason())
            .then();
  }

  /** Has the round that is under way left for post-copy. From any thread. */
  void startPostcopy() {
    OutgoingRound current = rounds.current();
    if (!Feature.POSTCOPY.in(features)) {
      throw new IllegalStateException("post-copy was not agreed on with the destination");
    }
    if (current == null || switching || outcomeIsKnown()) {
      throw new IllegalStateException(
          "post-copy can be started while rounds are being sent and the guest runs");
    }
    if (control.isPaused()) {
      throw new IllegalStateException("the migration is paused: have it go on first");
    }
    if (postcopyReason == null) {
      postcopyReason = "somebody asked for it";
      state.postcopyAsked = postcopyReason; // also if the connection is lost before
    }
  }

  /** {@return what is pending, without a look at memory} */
  Pending pendingEstimate() {
    return convergence.estimate();
  }

  /** Collects the dirty pages, between two batches if a round is under way. */
  Mono<Pending> pendingExact() {
    return Mono.defer(
            () -> {
              OutgoingRound current = rounds.current();
              return outcomeIsKnown() || current == null || handOver.isGivenUp()
                  ? Mono.<Pending>error(RunningOutgoing.notRunning())
                  : convergence.exact(current.reading);
            })
        .subscribeOn(resources.scanThread);
  }

  /** {@return whether the migration was waiting before its switch-over, and goes on} */
  boolean goOn() {
    return switchOver.goOn();
  }

  private boolean outcomeIsKnown() {
    return watches.isDisposed();
  }

  /** Both directions go on while the conversation ends; they end with the connection. */
  private void attend(Mono<Void> direction) {
    direction.subscribe(v -> {}, this::end);
  }

  private void end(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    if (handOver.isTaken() && !inPostcopy) {
      return; // Whatever it is, the guest runs at the destination.
    }
    if (reason.kind() == Kind.CANCELLED && !reason.isFromPeer() && !handOver.stop()) {
      // Too late: the guest was given up. But nobody who wants an end waits for ever.
      watches.add(
          Mono.delay(spec.peerTimeout(), migration.timer)
              .subscribe(tick -> outcome.tryEmitError(saysNothingOfTheGuest())));
      return;
    }
    outcome.tryEmitError(reason);
  }

  private MigrationException saysNothingOfTheGuest() {
    return MigrationException.of(
        Kind.CANCELLED,
        "the migration was cancelled when the guest had been handed over, and %s has not said for %s whether it runs"
            .formatted(channel.peer(), MigrationText.of(spec.peerTimeout())));
  }

  MigrationInfo info() {
    statistics.transferred(position());
    statistics.requests(requestsBefore + postcopy.requests());
    return statistics.info(now(), resources::counters);
  }

  /** The migration is being paused, or about to go on. From any thread. */
  void pausing(boolean paused) {
    if (!paused) {
      convergence.resuming();
    }
  }

  private Flux<TransportBuffer> limitBandwidth(Flux<TransportBuffer> buffers) {
    return spec.maxBandwidth() == 0 && !migration.controlled
        ? buffers
        : buffers.transform(
            BandwidthLimit.of(
                buffer -> buffer.bytes().remaining() + placing.takeUnpaidBytes(),
                control::bandwidth,
                migration.timer,
                control.bandwidthChanges()));
  }

  /** What the peer said. */
  private void heard(WireRecord record) {
    if (channel.isOver()) {
      return;
    }
    try {
      take(record);
    } catch (RuntimeException | VirtualMachineError e) {
      channel.endOver(e);
    }
  }

  private void take(WireRecord record) {
    switch (record) {
      case WireRecord.Hello hello -> {
        Negotiation both = Negotiation.of(hello(), hello);
        convergence.answered(now() - askedNanos); // Whoever goes on after it sees that.
        require(agreed.give(both), record);
      }
      case WireRecord.Offer o -> {
        require(offer.give(o), record);
        requireInLayout(o);
        offered = o;
      }
      case WireRecord.PostcopyAdvise advise ->
          require(Feature.POSTCOPY.in(features) && postcopy.advised(advise), record);
      case WireRecord.PageHashes hashes -> {
        ReusedPages pages = reused;
        if (pages == null || rounds.current() != null) {
          throw unexpected(record);
        }
        pages.heard(hashes);
      }
      case WireRecord.ResumePoint point -> {
        resumeFrom = point;
        require(resumePoint.give(point), record);
      }
      case WireRecord.Ready r -> {
        long nanos = now() - askedNanos;
        if (rounds.current() == null) {
          convergence.answered(nanos);
        }
        require(ready.give(record), record);
      }
      case WireRecord.RoundAck ack -> require(rounds.acknowledge(ack), record);
      case WireRecord.Prepared word -> require(switchOver.prepared(word), record);
      case WireRecord.Running r -> {
        require(handOver.take(HandOver.Event.RUNNING) != null, record);
        switchOver.started();
        if (inPostcopy) {
          postcopyRunning(record);
        } else {
          completed();
        }
      }
      case WireRecord.GuestRuns runs -> {
        require(recovers && agreed(Feature.POSTCOPY_RESUME) && lacking == null, record);
        if (!handOver.isTaken()) {
          require(handOver.take(HandOver.Event.RUNNING) != null, record);
          runsThere();
        }
        migration.status(MigrationStatus.POSTCOPY_RECOVER);
        lacking = new LackingPages(runs, spec.memory());
      }
      case WireRecord.Discard some -> {
        LackingPages told = lacking;
        if (told == null || ready.isGiven()) {
          throw unexpected(record);
        }
        told.add(some, spec.memory(), channel.peer());
      }
      case WireRecord.PostcopyComplete complete -> {
        require(inPostcopy && handOver.isTaken(), record);
        postcopy.complete(complete);
        require(handOver.take(HandOver.Event.COMPLETE) != null, record);
        inPostcopy = false; // From here on nothing goes wrong any more.
        if (agreed(Feature.POSTCOPY_RESUME)) {
          lastWordIsHere = true;
          channel.sayLast(complete); // else the destination would wait for a source that has ended
        }
        completed();
      }
      case WireRecord.Failure failure -> {
        if (!recovers) { // else whoever it is may not know what became of the guest
          handOver.take(HandOver.Event.REFUSED);
        }
        throw MigrationException.reportedByPeer(failure.kind(), failure.message());
      }
      case WireRecord.Progress progress -> {
        convergence.heard(pagesBefore + progress.pages(), bytesBefore + progress.bytes());
        if (inPostcopy) {
          postcopy.acknowledged(progress.pages() - rounds.sentPages());
        }
      }
      case WireRecord.KeepAlive k -> {}
      default -> throw unexpected(record);
    }
  }

  private void require(boolean inTurn, WireRecord record) {
    if (!inTurn) {
      throw unexpected(record);
    }
  }

  private void requireInLayout(WireRecord.Offer o) {
    int last = o.blocks().getLast().block();
    if (last >= spec.memory().blocks().size()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "%s offers block %d of %d"
              .formatted(channel.peer(), last, spec.memory().blocks().size()));
    }
  }

  private MigrationException unexpected(WireRecord record) {
    return MigrationException.of(
        Kind.PROTOCOL,
        "%s sent a %s record out of turn"
            .formatted(channel.peer(), record.getClass().getSimpleName()));
  }

  private WireRecord.Hello hello() {
    return OutgoingHello.of(spec, migration.controlled, state.session);
  }

  private Flux<WireRecord> script() {
    askedNanos = now();
    agreed.ask();
    return Flux.concat(
        Flux.<WireRecord>just(hello()),
        agreed.asMono().publishOn(resources.scanThread).flatMapMany(this::agreed),
        resources.after(ready.asMono(), Flux.defer(recovers ? this::recover : this::migrate)),
        Flux.never());
  }

  private Flux<WireRecord> migrate() {
    return Flux.concat(preCopy(), Flux.defer(this::switchOver));
  }

  private boolean agreed(Feature feature) {
    return feature.in(features);
  }

  /** The guest was given up: the destination runs it and lacks pages, or has ruled that out. */
  private Flux<WireRecord> recover() {
    LackingPages told = lacking;
    if (told == null) {
      throw doesNotRun();
    }
    WireRecord.GuestRuns runs = told.runs();
    convergence.began(state);
    statistics.owed(told.pages().bytes());
    postcopy.recover(told.pages(), runs);
    convergence.recovered(runs.missingPages());
    state.connections++;
    state.arrivedPages = runs.absentPages() - runs.missingPages();
    return Flux.concat(
        postcopy.openLane(spec.connector()),
        Mono.fromSupplier(this::resumePostcopy),
        postcopy.push(features));
  }

  private WireRecord resumePostcopy() {
    migration.status(MigrationStatus.POSTCOPY_ACTIVE);
    return postcopy.resume();
  }

  /**
   * The destination does not run the guest and will not. Only one that knows of the migration can
   * say so; and it goes on with the next connection, when the guest goes on here.
   */
  private MigrationException doesNotRun() {
    WireRecord.ResumePoint point = resumeFrom;
    if (point == null || point.round() == 0) {
      return MigrationException.of(
          Kind.PROTOCOL,
          "%s knows nothing of the guest that was handed over".formatted(channel.peer()));
    }
    if (handOver.take(HandOver.Event.REFUSED) == null) {
      return MigrationException.of(
          Kind.PROTOCOL,
          "%s says that it does not run the guest, but had said that it does"
              .formatted(channel.peer()));
    }
    return MigrationException.of(
        Kind.TRANSPORT,
        "the hand-over had not arrived at %s, so the guest goes on here".formatted(channel.peer()));
  }

  private Flux<WireRecord> agreed(Negotiation negotiation) {
    features = negotiation.features();
    askedNanos = now();
    ready.ask();
    if (Feature.SHARED_MEMORY.in(features)) {
      offer.ask();
    }
    if (Feature.RESUME.in(features)) {
      resumePoint.ask();
    }
    if (Feature.REUSE.in(features)) {
      reused = new ReusedPages(spec.memory(), state.session);
    }
    return Flux.just(new WireRecord.Layout(spec.memory().layout(), spec.geometry()));
  }

  /** Takes up what was interrupted, if anything was. */
  private void resume() {
    boolean agreed = Feature.RESUME.in(features);
    WireRecord.ResumePoint point = resumeFrom;
    if (agreed == (point == null) || !agreed && state.connections > 0) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          state.connections > 0
              ? "%s does not say how far the migration had come".formatted(channel.peer())
              : "%s has agreed on resumption, but does not say from where"
                  .formatted(channel.peer()));
    }
    if (point != null) {
      boolean partly = state.resume(point);
      if (state.connections > 0) {
        // The pages that it has may not have arrived.
        resources.emptyCache();
        statistics.notSwitched();
        statistics.owed(ledger.dirty().bytes());
        convergence.resumed(partly, ledger.dirty().bytes());
      }
    }
    state.connections++;
    // What the destination has lent is written to without its knowledge of how far.
    state.resumable = agreed && offered == null;
  }

  private Flux<WireRecord> preCopy() {
    convergence.began(state);
    watchTimeout(spec.limits().timeout().minus(convergence.elapsed()));
    resume();
    placing.begin(offered);
    if (Feature.POSTCOPY.in(features)) {
      convergence.allowPostcopy();
      postcopyReason = state.postcopyAsked;
    }
    migration.status(MigrationStatus.ACTIVE);
    control.roundsBegin(features);
    return resources.after(reuse(), preCopyRounds());
  }

  /** Settles what the destination has already. */
  private Mono<Void> reuse() {
    ReusedPages pages = reused;
    return pages == null
        ? Mono.empty()
        : pages
            .settle(ledger, resources.tracker, resources.scanThread)
            .doOnNext(
                settled -> {
                  pages.close();
                  if (settled > 0) {
                    statistics.owed(ledger.dirty().bytes());
                    convergence.reused(settled, ledger.dirty().cardinality());
                  }
                })
            .then();
  }

  private Flux<WireRecord> preCopyRounds() {
    return Flux.defer(() -> round(false))
        .repeat(() -> decision().action() == ConvergenceControl.Action.GO_ON);
  }

  private ConvergenceControl.Outcome decision() {
    ConvergenceControl.Outcome made = decision;
    if (made == null) {
      throw new IllegalStateException("no round has ended");
    }
    return made;
  }

  private Flux<WireRecord> round(boolean last) {
    return rounds.round(
        features,
        last,
        () -> !last && postcopyReason != null,
        last ? Mono.empty() : Mono.defer(this::decide));
  }

  /** Decides when the migration is not paused: what it goes by would be old otherwise. */
  private Mono<Void> decide() {
    String asked = postcopyReason;
    if (asked != null && control.switchOver()) {
      convergence.stop();
      decision =
          new ConvergenceControl.Outcome(
              ConvergenceControl.Action.START_POSTCOPY, asked, -1, List.of());
      return Mono.empty();
    }
    return control.isPaused()
        ? decideAfterPause()
        : convergence.collect(true).then(Mono.defer(this::decideByWhatWasCollected));
  }

  private Mono<Void> decideByWhatWasCollected() {
    ConvergenceControl.Outcome made = convergence.roundEnded();
    if (made == null) {
      return decideAfterPause();
    }
    decision = requireNoAbort(made);
    return Mono.empty();
  }

  private Mono<Void> decideAfterPause() {
    return control.passed().publishOn(resources.scanThread).then(Mono.defer(this::decide));
  }

  private static ConvergenceControl.Outcome requireNoAbort(ConvergenceControl.Outcome made) {
    if (made.action() == ConvergenceControl.Action.ABORT) {
      throw MigrationException.of(
          Kind.NOT_CONVERGED, "the migration does not converge: " + made.reason());
    }
    return made;
  }

  private Flux<WireRecord> switchOver() {
    switching = true;
    events.emit(new MigrationEvent.SwitchOver(decision().reason()));
    if (decision().action() == ConvergenceControl.Action.START_POSTCOPY
        && !agreed(Feature.POSTCOPY_RESUME)) {
      state.resumable = false;
    }
    return decision().action() == ConvergenceControl.Action.START_POSTCOPY
        ? Flux.concat(postcopy.openLane(spec.connector()), Flux.defer(this::switchToPostcopy))
        : switchOver.pause(Flux.defer(() -> round(true)), Flux.defer(this::endOfPrecopy));
  }

  private Flux<WireRecord> endOfPrecopy() {
    return Flux.concat(
        Mono.fromSupplier(this::end), switchOver.whenPrepared(Flux.defer(switchOver::commit)));
  }

  private Flux<WireRecord> switchToPostcopy() {
    statistics.postcopySwitch(now(), position());
    return switchOver.pause(
        Flux.defer(() -> postcopy.discards(ledger.copyOfDirty())),
        Flux.concat(
            Mono.fromSupplier(this::beginPostcopy),
            switchOver.whenPrepared(Flux.defer(this::commitToPostcopy)),
            resources.after(running.asMono(), Flux.defer(() -> postcopy.push(features)))));
  }

  private WireRecord beginPostcopy() {
    switchOver.offer();
    return postcopy.begin(rounds.sentPages(), switchOver.deviceStateBytes());
  }

  private Flux<WireRecord> commitToPostcopy() {
    running.ask();
    inPostcopy = true;
    return switchOver.commit();
  }

  /** The guest runs at the destination; the pages that it lacks are here until it has them all. */
  private void postcopyRunning(WireRecord record) {
    runsThere();
    migration.status(MigrationStatus.POSTCOPY_ACTIVE);
    require(running.give(record), record);
  }

  private void runsThere() {
    statistics.resumed(now());
    statistics.postcopyRunning(position());
  }

  private WireRecord end() {
    switchOver.offer();
    return new WireRecord.End(rounds.sentPages(), switchOver.deviceStateBytes());
  }

  private void completed() {
    long now = now();
    if (!switchedToPostcopy()) {
      statistics.resumed(now);
    }
    statistics.transferred(position());
    statistics.ended(MigrationStatus.COMPLETED, null, now);
    events.emit(new MigrationEvent.StatusChanged(MigrationStatus.COMPLETED));
    outcome.tryEmitValue(info());
  }

  private boolean switchedToPostcopy() {
    return recovers || running.isAsked();
  }

  private void closeReused() {
    ReusedPages pages = reused;
    if (pages != null) {
      pages.close();
    }
  }

  Mono<Void> finish() {
    migration.running.end(this);
    watches.dispose();
    closeReused();
    return Mono.when(channel.finish(lastWordIsHere), postcopy.close(null));
  }

  /** Cleans up after a failure: first the guest, then the peer. */
  Mono<Void> fail(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    migration.running.end(this);
    watches.dispose();
    closeReused();
    statistics.transferred(position());
    convergence.stop();
    control.hurry();
    return Mono.defer(() -> staysOpen(reason) ? Mono.empty() : keepGuest())
        .then(Mono.defer(this::liftThrottle))
        .doOnSuccess(nothing -> events.emit(new MigrationEvent.Progress(info())))
        .then(
            Mono.defer(
                () ->
                    Mono.whenDelayError(
                        channel.hangUp(reason, !reason.isFromPeer()), postcopy.close(reason))))
        .doFinally(
            signal -> {
              state.bytesBefore = bytesBefore + channel.bytesWritten() + postcopy.bytesWritten();
              state.requestsBefore = requestsBefore + postcopy.requests();
            });
  }

  /** Keeps the hand-over open if another connection may go on with it. */
  private boolean staysOpen(MigrationException reason) {
    OwedPages owed = postcopy.lastOwed();
    boolean open =
        state.resumable
            && inPostcopy
            && owed != null
            && handOver.isGivenUp()
            && OutgoingSession.isOfTheLine(reason);
    state.open = open && owed != null ? new OpenHandOver(handOver, guest, owed) : null;
    return open;
  }

  /** Nothing more is heard: the guest goes on here, or it is said where it is. */
  Mono<Void> keepGuest() {
    return switch (handOver.take(HandOver.Event.END)) {
      case RESUME_GUEST ->
          guest
              .letGoOn()
              .onErrorResume(
                  e ->
                      Mono.fromRunnable(
                          () -> {
                            state.resumable = false;
                            migration.add("; and it stays paused: " + MigrationText.of(e));
                          }));
      case TELL_TAKEN -> Mono.fromRunnable(this::tellTaken);
      case TELL_UNCERTAIN ->
          Mono.fromRunnable(
              () -> {
                state.resumable = false;
                migration.add(
                    "; the guest had been handed over and stays paused here: it runs at the"
                        + " destination if the hand-over arrived there, so resume it here only"
                        + " when the migration has ended there without it");
              });
      case null, default -> Mono.empty();
    };
  }

  private void tellTaken() {
    state.resumable = false;
    if (inPostcopy) {
      migration.failedInPostcopy();
      migration.add(
          "; the guest runs at the destination, which may lack pages that are only here: keep this"
              + " memory, for it is the one copy of them");
    } else {
      migration.add("; the guest runs at the destination");
    }
  }

  /** Last, and in any case: a guest that goes on must not go on slowly. */
  private Mono<Void> liftThrottle() {
    return convergence
        .liftThrottle()
        .onErrorResume(
            e ->
                Mono.fromRunnable(
                    () -> migration.add("; and it stays throttled: " + MigrationText.of(e))));
  }
}
