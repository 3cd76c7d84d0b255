package io.pageflux.migration;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.wire.Feature;
import java.time.Duration;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * Controls an {@link OutgoingMigration} while it runs. Made before it, given to {@link
 * OutgoingMigration#events(OutgoingControl)}, and used from then on until its end; then it may be
 * given to another one, which begins with its own spec's parameters.
 *
 * <p><b>When a change takes effect:</b> the bandwidth at once, also for what waits for its turn;
 * the limit of the downtime at the next decision, a second later at most, and as if it had been
 * given at the start: the policy begins anew with it; so do the constants of auto-converge, but it
 * does not begin anew, and a guest that is throttled already stays so. Compression and the delta
 * cache change with the next round, when nothing of the round before is on its way any more: so no
 * two sends of a page overtake one another, and a delta is never against what another cache had. A
 * new cache is empty. In the last round, while the guest is paused, the cache stays as it is.
 *
 * <p><b>A paused migration</b> sends no batch but those that were on their way (twice the workers,
 * and the connection's), and signs of life. The guest runs on, throttled if it was. Time that a
 * migration was paused for counts in {@link MigrationInfo#totalTime()} only: not towards the time
 * limit, nor the rates by which the downtime is expected.
 *
 * <p><b>Threading:</b> any thread; several that change something are served one after the other,
 * and each change is made to what the one before has left. Nothing here waits for the network.
 *
 * <p><b>Errors:</b> {@link IllegalStateException} if there is no migration that could do it now,
 * {@link IllegalArgumentException} if a value is out of range. Nothing has changed then.
 */
public final class OutgoingControl {

  /** The longest downtime that can be asked for, as in QEMU. */
  public static final Duration MAX_DOWNTIME_LIMIT = Duration.ofSeconds(2000);

  /**
   * A batch may take this part of the peer's patience at the lowest bandwidth, since no sign of
   * life comes through in the middle of it.
   */
  private static final int BATCHES_PER_PATIENCE = 4;

  /** A migration, as its control sees it. Not called while the control's monitor is held. */
  interface Target {
    OutgoingSpec spec();

    MigrationInfo info();

    /** Sets the status if the rounds are being sent, and tells of it. */
    void pausing(boolean paused);

    void emit(MigrationEvent event);

    /** {@return whether it was waiting before its switch-over, and goes on} */
    boolean goOn();

    /** See {@link OutgoingMigration#startPostcopy()}; throws what that ends in. */
    void startPostcopy();

    long now();
  }

  private enum State {
    NONE("no migration has begun"),
    SETUP("the migration is being set up"),
    ROUNDS(""),
    SWITCH_OVER("the switch-over has begun"),
    ENDED("the migration has ended");

    private final String text;

    State(String text) {
      this.text = text;
    }
  }

  private final Sinks.Many<Boolean> bandwidthChanges = Sinks.many().multicast().directBestEffort();

  /** Held by who changes something, so that changes and the events of them have one order. */
  private final Object turn = new Object();

  // Below is guarded by this control's monitor, which is held for moments only.
  private State state = State.NONE;
  private @Nullable Target target;
  private volatile @Nullable MigrationParameters parameters;
  private long features = Feature.migration();
  private Sinks.Empty<Void> stop = Sinks.empty();
  private boolean cancelled;
  private volatile boolean hurried;
  private volatile Sinks.@Nullable Empty<Void> pause;
  private long pausedSinceNanos;
  private long pausedNanos;

  /** Makes a control of no migration yet. */
  public OutgoingControl() {}

  /** {@return the parameters as they were set last, of a migration that has ended also} */
  public MigrationParameters parameters() {
    MigrationParameters now = parameters;
    if (now == null) {
      throw new IllegalStateException(State.NONE.text);
    }
    return now;
  }

  /**
   * Changes parameters, all that are changed or none.
   *
   * @param change makes the new ones of those that hold; called while others wait
   * @return the new ones
   */
  public MigrationParameters set(UnaryOperator<MigrationParameters> change) {
    synchronized (turn) {
      MigrationParameters before;
      MigrationParameters now;
      Target told;
      synchronized (this) {
        told = requireState("nothing can be set", State.SETUP, State.ROUNDS);
        before = parameters();
        now = Objects.requireNonNull(change.apply(before), "the change is null");
        requireSense(before, now, told.spec());
        parameters = now;
      }
      if (now.maxBandwidth() != before.maxBandwidth()) {
        bandwidthChanges.tryEmitNext(true);
      }
      told.emit(new MigrationEvent.ParametersChanged(now, ""));
      return now;
    }
  }

  private void requireSense(
      MigrationParameters before, MigrationParameters now, OutgoingSpec spec) {
    long bandwidth = now.maxBandwidth();
    long least = leastBandwidth(spec);
    if (bandwidth != before.maxBandwidth() && bandwidth != 0 && bandwidth < least) {
      throw new IllegalArgumentException(
          ("max-bandwidth is 0 (no limit) or at least %d bytes per second, or a batch takes so long"
                  + " that the destination gives up; it was %d")
              .formatted(least, bandwidth));
    }
    if (now.downtimeLimit().compareTo(MAX_DOWNTIME_LIMIT) > 0) {
      throw new IllegalArgumentException(
          "downtime-limit is %d ms at the most, but it was %d ms"
              .formatted(MAX_DOWNTIME_LIMIT.toMillis(), now.downtimeLimit().toMillis()));
    }
    if ((before.autoConverge() == null) != (now.autoConverge() == null)) {
      throw new IllegalArgumentException(
          "the throttle's rule belongs to auto-converge, which is chosen before a migration begins");
    }
    requireFeature(Feature.ZSTD, before.compression() == null && now.compression() != null);
    XbzrleSpec xbzrle = now.xbzrle();
    requireFeature(Feature.XBZRLE, before.xbzrle() == null && xbzrle != null);
    if (xbzrle != null && !xbzrle.equals(before.xbzrle())) {
      requireCacheSize(xbzrle.cacheBytes(), spec);
    }
  }

  private static void requireCacheSize(long bytes, OutgoingSpec spec) {
    long page = spec.memory().layout().largestPageSizeBytes();
    long most = Math.max(spec.memory().sizeBytes(), page);
    if (bytes < page || bytes > most) {
      throw new IllegalArgumentException(
          "xbzrle-cache-size is 0 (no deltas) or from %d bytes, a page, to %d, the guest's memory;"
                  .formatted(page, most)
              + " it was "
              + bytes);
    }
  }

  /** {@return the lowest limit at which the peer still hears of us in time} */
  static long leastBandwidth(OutgoingSpec spec) {
    double seconds = spec.peerTimeout().toNanos() / 1e9;
    return (long) Math.ceil(BATCHES_PER_PATIENCE * spec.geometry().payloadBytes() / seconds);
  }

  private void requireFeature(Feature feature, boolean wanted) {
    if (wanted && !feature.in(features)) {
      throw new IllegalArgumentException(
          "the destination does not know " + feature + ", so it cannot be switched on");
    }
  }

  private Target requireState(String otherwise, State... allowed) {
    for (State one : allowed) {
      if (state == one && target != null) {
        return target;
      }
    }
    throw new IllegalStateException(state.text + ": " + otherwise);
  }

  /** Has no more batches sent until {@link #resume()}. */
  public void pause() {
    synchronized (turn) {
      Target told;
      synchronized (this) {
        told = requireState("it cannot be paused", State.ROUNDS);
        if (pause != null) {
          throw new IllegalStateException("the migration is paused already");
        }
        pausedSinceNanos = told.now();
        pause = Sinks.empty();
      }
      told.pausing(true);
    }
  }

  /** Has a paused migration go on. */
  public void resume() {
    synchronized (turn) {
      Target told;
      synchronized (this) {
        told = requireState("it cannot go on", State.ROUNDS);
        if (pause == null) {
          throw new IllegalStateException("the migration is not paused");
        }
      }
      told.pausing(false);
      Sinks.Empty<Void> over;
      synchronized (this) {
        over = pause;
        pause = null;
        pausedNanos += over == null ? 0 : Math.max(0, told.now() - pausedSinceNanos);
      }
      if (over != null) { // else it has ended meanwhile
        over.tryEmitEmpty();
      }
    }
  }

  /**
   * Continues a migration that has {@linkplain OutgoingSpec#withPauseBeforeSwitchover paused before
   * its switch-over}, as {@link OutgoingMigration#continueMigration()} does. That is another pause
   * than that of {@link #pause()}: the guest does not run in it.
   */
  public void continueMigration() {
    synchronized (turn) {
      Target told;
      synchronized (this) {
        told =
            requireState(
                "there is nothing to continue", State.SETUP, State.ROUNDS, State.SWITCH_OVER);
      }
      if (!told.goOn()) {
        throw RunningOutgoing.notWaiting(told.info().status());
      }
    }
  }

  /** Has post-copy begin, as {@link OutgoingMigration#startPostcopy()} does. */
  public void startPostcopy() {
    Target told;
    synchronized (this) {
      told = requireState("post-copy cannot be started", State.ROUNDS);
    }
    told.startPostcopy();
  }

  /** {@return whether the migration is paused} */
  public boolean isPaused() {
    return pause != null;
  }

  /**
   * Asks the migration to stop, as the {@code stop} of {@link OutgoingMigration#events(Mono)} does.
   * What became of it, its end says: once the hand-over is committed there is no stopping it.
   */
  public void cancel() {
    Sinks.Empty<Void> told;
    synchronized (this) {
      requireState("there is nothing to cancel", State.SETUP, State.ROUNDS, State.SWITCH_OVER);
      cancelled = true;
      told = stop;
    }
    told.tryEmitEmpty();
  }

  /** {@return whether somebody has cancelled the migration here} */
  public synchronized boolean isCancelled() {
    return cancelled;
  }

  /** {@return the migration as it is, or was at its end} */
  public MigrationInfo info() {
    Target asked;
    synchronized (this) {
      asked = target;
    }
    if (asked == null) {
      throw new IllegalStateException(State.NONE.text);
    }
    return asked.info();
  }

  // What follows is the migration's side.

  /** A migration begins. {@return what cancels it} */
  synchronized Mono<Void> begin(Target migration) {
    if (state != State.NONE && state != State.ENDED) {
      throw new IllegalStateException("this control has a migration already, which has not ended");
    }
    target = migration;
    state = State.SETUP;
    parameters = MigrationParameters.of(migration.spec());
    features = Feature.migration();
    cancelled = false;
    hurried = false;
    stop = Sinks.empty();
    pause = null;
    pausedNanos = 0;
    return stop.asMono();
  }

  /** The rounds begin, with what both sides can do. */
  synchronized void roundsBegin(long agreedFeatures) {
    state = State.ROUNDS;
    hurried = false; // Another connection's last word was.
    features = agreedFeatures;
  }

  /** {@return whether the guest may be paused now: not while the migration is} */
  synchronized boolean switchOver() {
    if (pause != null) {
      return false;
    }
    state = State.SWITCH_OVER;
    return true;
  }

  synchronized void ended() {
    state = State.ENDED;
    pause = null;
  }

  /** Completes when the migration is not paused, at once or later, then on another thread. */
  Mono<Void> passed() {
    return Mono.defer(
        () -> {
          Sinks.Empty<Void> now = pause;
          return now == null ? Mono.empty() : now.asMono();
        });
  }

  /** {@return for how long the migration has been paused since it began} */
  synchronized long pausedNanos(long nowNanos) {
    return pausedNanos + (pause == null ? 0 : Math.max(0, nowNanos - pausedSinceNanos));
  }

  /** {@return bytes per second at the most, now; 0 for no limit} */
  long bandwidth() {
    return hurried ? 0 : parameters().maxBandwidth();
  }

  /** The migration fails: no limit holds any more, so that its last word gets out in time. */
  void hurry() {
    hurried = true;
    bandwidthChanges.tryEmitNext(true); // If somebody else emits just now, that serves as well.
  }

  /** Emits after each change of the bandwidth. */
  Flux<Boolean> bandwidthChanges() {
    return bandwidthChanges.asFlux();
  }

  /** A delta cache could not be had: the one before stays. */
  void keepXbzrle(@Nullable XbzrleSpec kept, String reason) {
    MigrationParameters now;
    Target told;
    synchronized (this) {
      now = parameters().withXbzrle(kept);
      parameters = now;
      told = target;
    }
    if (told != null) {
      told.emit(new MigrationEvent.ParametersChanged(now, reason));
    }
  }
}
