package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.transport.Connection;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/**
 * One migration at its source: takes what it needs, connects, has the {@linkplain
 * OutgoingConversation conversation}, and gives everything back.
 */
final class OutgoingSession implements OutgoingControl.Target {

  final OutgoingSpec spec;
  final Mono<Void> stop;
  final OutgoingControl control;

  /** Whether somebody else has the control, and not only this session. */
  final boolean controlled;

  final MigrationRun.EventSink events;
  final RunningOutgoing running;
  final Scheduler timer = Schedulers.parallel();

  final OutgoingStatistics statistics;

  /** What outlives a connection. */
  final OutgoingState state;

  private final Sinks.Empty<Void> cancelled;
  private final MadeConnection line = new MadeConnection();
  // Where the guest is after a failure, if it does not run here. Written before the error is told.
  private volatile String whereabouts = "";
  private volatile @Nullable OutgoingConversation conversation;
  private volatile boolean inPostcopy;

  OutgoingSession(
      OutgoingSpec spec, Mono<Void> stop, MigrationRun.EventSink events, RunningOutgoing running) {
    this(spec, stop, events, running, null);
  }

  OutgoingSession(
      OutgoingSpec spec,
      Mono<Void> stop,
      MigrationRun.EventSink events,
      RunningOutgoing running,
      @Nullable OutgoingControl control) {
    this.spec = spec;
    this.controlled = control != null;
    this.control = control == null ? new OutgoingControl() : control;
    this.cancelled = Sinks.empty();
    this.stop = Mono.firstWithSignal(stop, cancelled.asMono());
    this.events = events;
    this.running = running;
    this.statistics = new OutgoingStatistics(spec, now());
    this.state = new OutgoingState(spec.memory().layout());
  }

  @Override
  public OutgoingSpec spec() {
    return spec;
  }

  @Override
  public long now() {
    return timer.now(TimeUnit.NANOSECONDS);
  }

  @Override
  public MigrationInfo info() {
    OutgoingConversation talking = conversation;
    return talking == null ? statistics.info(now(), () -> null) : talking.info();
  }

  @Override
  public boolean goOn() {
    OutgoingConversation talking = conversation;
    return talking != null && talking.goOn();
  }

  @Override
  public void emit(MigrationEvent event) {
    events.emit(event);
  }

  @Override
  public void startPostcopy() {
    running.current().startPostcopy();
  }

  @Override
  public void pausing(boolean paused) {
    OutgoingConversation talking = conversation;
    if (talking != null) {
      talking.pausing(paused);
    }
    status(paused ? MigrationStatus.PAUSED : MigrationStatus.ACTIVE);
  }

  Mono<MigrationInfo> run() {
    return Mono.using(
        () -> control.begin(this).subscribe(v -> {}, e -> {}, cancelled::tryEmitEmpty),
        watch -> migrate(),
        watch -> {
          watch.dispose();
          control.ended();
        });
  }

  private Mono<MigrationInfo> migrate() {
    return Mono.usingWhen(
            Mono.fromCallable(() -> OutgoingResources.open(spec, controlled))
                .subscribeOn(Schedulers.boundedElastic()),
            this::migrate,
            OutgoingResources::close)
        .delayUntil(info -> releaseRam())
        .onErrorMap(this::withWhereabouts)
        .doOnError(this::failed)
        .doFinally(signal -> line.close())
        .doOnSubscribe(s -> status(MigrationStatus.SETUP));
  }

  /**
   * After all: until the destination has said that it runs the guest, the source may have to; and
   * what has ended well does not fail any more.
   */
  private Mono<Void> releaseRam() {
    return spec.lifecycle().releaseRam()
        ? Mono.fromCallable(() -> spec.memory().releasePages())
            .subscribeOn(Schedulers.boundedElastic())
            .map(bytes -> new MigrationEvent.RamReleased(bytes, null))
            .onErrorResume(e -> Mono.just(new MigrationEvent.RamReleased(0, MigrationText.of(e))))
            .doOnNext(events::emit)
            .then()
        : Mono.empty();
  }

  private Mono<MigrationInfo> migrate(OutgoingResources resources) {
    statistics.tracker(resources.tracker.name());
    Mono<Connection> connecting =
        line.connect(spec.connector(), spec.peerTimeout(), timer, stop, MigrationRun::cancelled);
    Mono<MigrationInfo> attempt =
        connecting.flatMap(
            connection ->
                Mono.usingWhen(
                    Mono.fromSupplier(() -> conversation(connection, resources)),
                    OutgoingConversation::lead,
                    OutgoingConversation::finish,
                    OutgoingConversation::fail,
                    conversation -> conversation.fail(MigrationRun.cancelled())));
    Retry again = spec.lifecycle().resume();
    return again == null
        ? attempt
        : attempt
            .retryWhen(new ResumeRetry(again, this::isResumable, state::progress, this::lost, stop))
            .onErrorResume(e -> handOverEnds().then(Mono.error(e)));
  }

  /** No other connection will be made: if a hand-over was kept open for one, it ends here. */
  private Mono<Void> handOverEnds() {
    OutgoingConversation last = conversation;
    return state.open == null || last == null ? Mono.empty() : last.keepGuest();
  }

  /** Whether another connection may mend it: not what either side did wrong or wants. */
  private boolean isResumable(Throwable e) {
    return state.resumable && isOfTheLine(MigrationException.ofAny(e));
  }

  static boolean isOfTheLine(MigrationException reason) {
    return reason.kind() == Kind.TRANSPORT || reason.kind() == Kind.TIMEOUT;
  }

  private void lost(Throwable e) {
    long began = state.began(now());
    ConvergenceStep step =
        new ConvergenceStep(
            Duration.ofNanos(Math.max(0, now() - began)),
            ConvergenceStep.Kind.CONNECTION_LOST,
            "the connection is to be made again",
            MigrationText.of(e));
    statistics.step(step);
    events.emit(new MigrationEvent.Convergence(step));
    status(state.open == null ? MigrationStatus.RECONNECTING : MigrationStatus.POSTCOPY_PAUSED);
  }

  private OutgoingConversation conversation(Connection connection, OutgoingResources resources) {
    OutgoingConversation made = new OutgoingConversation(this, connection, resources);
    conversation = made;
    return made;
  }

  /** The guest runs at the destination and may lack pages. Before the failure is told. */
  void failedInPostcopy() {
    inPostcopy = true;
  }

  /** Adds to what a failure says where the guest is. Before the failure is told. */
  void add(String toWhereabouts) {
    whereabouts += toWhereabouts;
  }

  private Throwable withWhereabouts(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    return whereabouts.isEmpty()
        ? reason
        : MigrationException.of(reason.kind(), MigrationText.of(reason) + whereabouts, reason);
  }

  private void failed(Throwable e) {
    MigrationException reason = MigrationException.ofAny(e);
    boolean cancelled = reason.kind() == Kind.CANCELLED && !reason.isFromPeer();
    MigrationStatus status =
        inPostcopy
            ? MigrationStatus.POSTCOPY_PAUSED
            : cancelled ? MigrationStatus.CANCELLED : MigrationStatus.FAILED;
    statistics.ended(status, MigrationText.of(reason), now());
    events.emit(new MigrationEvent.StatusChanged(status));
  }

  /** Says where the migration is. */
  void status(MigrationStatus status) {
    statistics.status(status);
    events.emit(new MigrationEvent.StatusChanged(status));
  }
}
