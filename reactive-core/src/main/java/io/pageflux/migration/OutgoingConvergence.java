package io.pageflux.migration;

import io.pageflux.channel.MigrationText;
import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergenceControl;
import io.pageflux.convergence.ConvergenceFigures;
import io.pageflux.convergence.ConvergenceMeter;
import io.pageflux.convergence.ConvergenceStep;
import io.pageflux.dirty.DirtyTracker;
import java.time.Duration;
import java.util.List;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * The source's counters, its tracker and its guest, brought to a {@link ConvergenceMeter} and a
 * {@link ConvergenceControl}, and what these decide, to the guest.
 *
 * <p>Used by the scanning thread, where rounds begin and end, and where a round under way is looked
 * into between two batches; but for {@link #heard} and the throttle.
 */
final class OutgoingConvergence implements GuestThrottle.Listener {

  /**
   * Dirty pages are collected within a round, and some of them tried out, only if this many times
   * the time has passed that it took the last time, so that it takes no more than a twentieth of
   * the thread's.
   */
  private static final int REST = 20;

  /** What the destination had when it was heard of last. */
  private record Heard(long pages, long bytes, long nanos) {}

  private final DirtyTracker tracker;
  private final DirtyLedger ledger;
  private final OutgoingStatistics statistics;
  private final MigrationRun.EventSink events;
  private final OutgoingPages pages;
  private final LongSupplier bytesWritten;
  private final LongSupplier clock;
  private final OutgoingControl controller;
  private final Scheduler thread;

  private final ConvergenceMeter meter;
  private final ConvergenceControl control;
  private final GuestThrottle throttle;

  /** What was counted when a pause ended, before anything more was sent. */
  private record PauseEnd(ConvergenceMeter.Counters counters, long nanos) {}

  private @Nullable PauseEnd pauseEnd;
  private long idleNanos;
  private volatile Heard heard = new Heard(0, 0, 0);
  private volatile long beganNanos;
  private volatile boolean watching;
  private int rounds;
  private volatile long collectedNanos;
  private long collectingNanos;
  private ConvergenceMeter.@Nullable Sample sample;
  private long triedNanos;
  private long tryingNanos;

  OutgoingConvergence(
      OutgoingSpec spec,
      DirtyTracker tracker,
      DirtyLedger ledger,
      OutgoingStatistics statistics,
      MigrationRun.EventSink events,
      OutgoingPages pages,
      LongSupplier bytesWritten,
      LongSupplier clock,
      OutgoingControl controller,
      Scheduler thread,
      Scheduler timer) {
    this.tracker = tracker;
    this.ledger = ledger;
    this.statistics = statistics;
    this.events = events;
    this.pages = pages;
    this.bytesWritten = bytesWritten;
    this.clock = clock;
    this.controller = controller;
    this.thread = thread;
    this.meter =
        new ConvergenceMeter(spec.memory().layout().largestPageSizeBytes(), spec.switchOverCost());
    this.control = new ConvergenceControl(spec.policy(), spec.limits());
    this.throttle = new GuestThrottle(spec.guest(), timer, spec.peerTimeout(), this);
  }

  private long realNow() {
    return clock.getAsLong();
  }

  /** The time that figures and limits know, which stands still while the migration is paused. */
  long now() {
    long now = clock.getAsLong();
    return now - controller.pausedNanos(now);
  }

  /** The first round begins, or the first one of another connection. */
  void began(OutgoingState state) {
    boolean first = !state.hasBegun();
    if (first) {
      tracker.start();
      statistics.collectedFirst();
      statistics.firstRound(realNow());
    }
    long now = now();
    beganNanos = state.began(now);
    collectedNanos = now;
    idleNanos = controller.pausedNanos(realNow());
    meter.began(now);
    if (!first) {
      // Its rates are those of another connection; its time is the migration's.
      meter.goesOnSince(beganNanos);
    }
  }

  /** {@return the time since the first round began, without pauses} */
  Duration elapsed() {
    return Duration.ofNanos(now() - beganNanos);
  }

  /** The destination has answered something. Before the first round. */
  void answered(long nanos) {
    meter.answered(nanos);
  }

  /** {@return how long the destination takes to answer at the least; on the scanning thread} */
  long shortestAnswerNanos() {
    return meter.answerTime().toNanos();
  }

  /** The destination has pages of an older copy. */
  void reused(long pages, long rest) {
    tell(
        ConvergenceStep.Kind.REUSED,
        "%,d pages are not sent, %,d are".formatted(pages, rest),
        "the destination has them already, by their hashes");
  }

  /** A migration goes on that was interrupted. */
  void resumed(boolean partly, long owedBytes) {
    tell(
        ConvergenceStep.Kind.RESUMED,
        "the migration goes on, with %,d bytes of pages to read".formatted(owedBytes),
        partly
            ? "the destination has the rest"
            : "the destination has nothing of what it had any more");
  }

  /** Post-copy goes on that was interrupted. */
  void recovered(long missingPages) {
    tell(
        ConvergenceStep.Kind.RESUMED,
        "post-copy goes on, with %,d pages that the destination lacks".formatted(missingPages),
        "the destination has the rest");
  }

  void roundBegan(OutgoingRound round) {
    heard(statistics.kinds().total(), bytesWritten.getAsLong());
    meter.roundBegan(round.dirtyPages, counters(), round.beganNanos);
    watching = !round.last;
  }

  /**
   * The destination says what it has. May be called from any thread. It is not taken at its word
   * for more than was sent, nor for less than it said before.
   */
  synchronized void heard(long pages, long bytes) {
    Heard before = heard;
    heard =
        new Heard(
            Math.clamp(pages, before.pages, Math.max(before.pages, statistics.kinds().total())),
            Math.clamp(bytes, before.bytes, Math.max(before.bytes, bytesWritten.getAsLong())),
            now());
  }

  private ConvergenceMeter.Counters counters() {
    Heard last = heard;
    OutgoingStatistics.Made made = statistics.made();
    return new ConvergenceMeter.Counters(
        last.pages + statistics.unchangedPages(),
        last.bytes,
        made.pages(),
        made.contents(),
        made.bytes());
  }

  /** The destination has acknowledged a round: it has all that was sent. */
  void roundAcknowledged(long answerNanos, long nowNanos) {
    heard(statistics.kinds().total(), bytesWritten.getAsLong());
    learnPause();
    meter.roundAcknowledged(counters(), answerNanos, nowNanos);
    rounds++;
  }

  /**
   * The migration is about to go on after a pause; the clock still shows when that began. From any
   * thread: what is found out here, the meter learns on its own.
   */
  void resuming() {
    synchronized (this) {
      pauseEnd = new PauseEnd(counters(), now());
    }
  }

  private void learnPause() {
    PauseEnd end;
    synchronized (this) {
      end = pauseEnd;
      pauseEnd = null;
    }
    long idle = controller.pausedNanos(realNow());
    if (end != null) {
      meter.idled(end.counters, idle - idleNanos, end.nanos);
      idleNanos = idle;
    }
  }

  /**
   * Collects the dirty pages between two rounds.
   *
   * @param decides whether it is decided then whether the guest is paused
   */
  Mono<Void> collect(boolean decides) {
    return Mono.defer(
        () -> {
          learnPause();
          long before = now();
          long real = realNow();
          return CollectionInSlices.of(tracker, ledger, thread)
              .doOnNext(
                  found -> {
                    long now = now();
                    if (decides) {
                      tryOut(now);
                    }
                    collected(found.pages(), before, now);
                    statistics.collected(ledger.dirty().bytes(), found.pages(), real);
                  })
              .then();
        });
  }

  /** Looks at what the dirty pages are on the wire. */
  private void tryOut(long now) {
    if (sample == null || now - triedNanos >= REST * tryingNanos) {
      sample = pages.tryOut(ledger.dirty());
      triedNanos = now();
      tryingNanos = triedNanos - now;
    }
    meter.tried(sample);
  }

  private void collected(long found, long beforeNanos, long now) {
    collectedNanos = now;
    collectingNanos = now - beforeNanos;
    meter.collected(found, ledger.dirty().cardinality(), collectingNanos, now);
  }

  /**
   * A round has ended, and the dirty pages were collected. {@return what to do; null if the guest
   * were to be paused, but the migration is paused by now}
   */
  ConvergenceControl.@Nullable Outcome roundEnded() {
    ConvergenceControl.Outcome outcome = decided();
    return ends(outcome) && !controller.switchOver() ? null : done(outcome);
  }

  private static boolean ends(ConvergenceControl.Outcome outcome) {
    return outcome.action() == ConvergenceControl.Action.SWITCH_OVER
        || outcome.action() == ConvergenceControl.Action.START_POSTCOPY;
  }

  /** Post-copy was agreed on: it may be decided on. */
  void allowPostcopy() {
    control.allowPostcopy();
  }

  /** Some time has passed, and a round is under way or not. {@return what to do} */
  Mono<ConvergenceControl.Outcome> period() {
    return Mono.defer(
        () -> {
          if (!decides()) {
            return Mono.just(nothing());
          }
          learnPause();
          // In this order: what was acknowledged belongs to the period that the collection may end.
          meter.observe(counters(), heard.nanos, now());
          return collectWithin()
              .then(Mono.fromSupplier(() -> decides() ? periodEnded() : nothing()));
        });
  }

  private ConvergenceControl.Outcome periodEnded() {
    ConvergenceControl.Outcome outcome = roundEnded();
    return outcome == null ? nothing() : outcome;
  }

  private boolean decides() {
    return watching && !controller.isPaused();
  }

  private static ConvergenceControl.Outcome nothing() {
    return new ConvergenceControl.Outcome(ConvergenceControl.Action.GO_ON, "", -1, List.of());
  }

  /** Not in the first round, which sends every page anyway. */
  private Mono<Void> collectWithin() {
    long rest = Math.max(ConvergenceMeter.PERIOD.toNanos(), REST * collectingNanos);
    return rounds == 0 || now() - collectedNanos < rest || !tracker.collectsWithinRounds()
        ? Mono.empty()
        : collectNow();
  }

  private Mono<Void> collectNow() {
    learnPause();
    long now = now();
    long real = realNow();
    return CollectionInSlices.of(tracker, ledger, thread)
        .doOnNext(
            found -> {
              collected(found.pages(), now, now());
              statistics.collectedWithin(found.bytes(), found.pages(), real);
            })
        .then();
  }

  /** {@return what is pending, by what is known} From any thread. */
  Pending estimate() {
    return pending(false);
  }

  private Pending pending(boolean exact) {
    return new Pending(
        statistics.remainingBytes(), exact, Duration.ofNanos(Math.max(0, now() - collectedNanos)));
  }

  /**
   * Collects, and says what is pending. On the scanning thread. What is found while the migration
   * is paused would look like the doing of a moment, for the clock stands still: then nothing is
   * collected.
   *
   * @param inRound whether pages are being read; then a tracker that compares is not asked
   */
  Mono<Pending> exact(boolean inRound) {
    return Mono.defer(
        () ->
            controller.isPaused() || inRound && !tracker.collectsWithinRounds()
                ? Mono.just(pending(false))
                : collectNow().then(Mono.fromSupplier(() -> pending(true))));
  }

  private ConvergenceControl.Outcome decided() {
    long now = now();
    control
        .give(controller.parameters().downtimeLimit(), Duration.ofNanos(now - beganNanos))
        .forEach(this::tell);
    AutoConverge.Settings rule = controller.parameters().autoConverge();
    if (rule != null) {
      control.use(rule);
    }
    ConvergenceFigures figures =
        meter.figures(
            control.downtimeLimit(),
            new ConvergenceFigures.Throttle(throttle.percent(), throttle.possible()),
            now);
    statistics.convergence(figures);
    ConvergenceControl.Outcome outcome = control.decide(figures);
    statistics.downtimeLimit(control.downtimeLimit());
    return outcome;
  }

  private ConvergenceControl.Outcome done(ConvergenceControl.Outcome outcome) {
    outcome.steps().forEach(this::tell);
    if (outcome.throttlePercent() >= 0) {
      throttle.set(outcome.throttlePercent());
    }
    if (outcome.action() != ConvergenceControl.Action.GO_ON) {
      stop();
    }
    return outcome;
  }

  /** From here on nothing is decided any more. */
  void stop() {
    watching = false;
    throttle.hold();
  }

  private void tell(ConvergenceStep step) {
    statistics.step(step);
    events.emit(new MigrationEvent.Convergence(step));
  }

  private void tell(ConvergenceStep.Kind kind, String what, String why) {
    tell(new ConvergenceStep(Duration.ofNanos(now() - beganNanos), kind, what, why));
  }

  @Override
  public void taken(int percent) {
    statistics.throttled(percent);
  }

  @Override
  public void refused(int percent, String reason) {
    tell(
        ConvergenceStep.Kind.THROTTLE_REFUSED,
        "guest not throttled by %d %%, and not asked again".formatted(percent),
        reason);
  }

  /** Gives the guest all its time, if it was ever taken. In error if that fails. */
  Mono<Void> liftThrottle() {
    return throttle
        .lift()
        .doOnNext(
            lifted -> {
              if (lifted) {
                tell(
                    ConvergenceStep.Kind.THROTTLE_LIFTED,
                    "guest not throttled any more",
                    "the migration ends");
              }
            })
        .doOnError(
            e ->
                tell(
                    ConvergenceStep.Kind.THROTTLE_REFUSED,
                    "guest still throttled",
                    MigrationText.of(e)))
        .then();
  }
}
