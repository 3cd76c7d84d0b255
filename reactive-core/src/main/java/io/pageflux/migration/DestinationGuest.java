package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.WireChannel;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * The guest at its destination: the device state that arrives for it, and its start, by what {@link
 * TakeOver} allows.
 *
 * <p>A start that was begun neither ends with the connection nor with the subscription, and its
 * result alone is the migration's.
 */
final class DestinationGuest {

  private final IncomingSpec spec;
  private final TakeOver takeOver;
  private final Scheduler timer;
  private final Runnable onRunning;
  private final Consumer<Throwable> onNotStarted;
  private final Consumer<MigrationException> onUnclear;
  private final List<byte[]> deviceState = new ArrayList<>();
  private long deviceStateBytes;

  /**
   * @param onRunning the guest runs, and the source may hear it
   * @param onNotStarted it does not run and will not, and the source may hear that
   * @param onUnclear nobody knows whether it runs, and the source must hear nothing
   */
  DestinationGuest(
      IncomingSpec spec,
      TakeOver takeOver,
      Scheduler timer,
      Runnable onRunning,
      Consumer<Throwable> onNotStarted,
      Consumer<MigrationException> onUnclear) {
    this.spec = spec;
    this.takeOver = takeOver;
    this.timer = timer;
    this.onRunning = onRunning;
    this.onNotStarted = onNotStarted;
    this.onUnclear = onUnclear;
  }

  /** Keeps a piece of its device state, within the limit. */
  void add(byte[] piece) {
    deviceStateBytes += piece.length;
    if (deviceStateBytes > spec.maxDeviceStateBytes()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the guest's device state is longer than " + spec.maxDeviceStateBytes() + " bytes");
    }
    deviceState.add(piece);
  }

  /** {@return how much of its device state has come} */
  long deviceStateBytes() {
    return deviceStateBytes;
  }

  /** Has it take its device state. The source is not heard meanwhile. */
  Mono<Void> takeDeviceState(WireChannel channel) {
    if (takeOver.take(TakeOver.Event.END) != TakeOver.Action.LOAD_STATE) {
      throw MigrationRun.cancelled();
    }
    return channel.busy(
        SafeCall.on(
                Schedulers.boundedElastic(),
                () -> spec.guest().loadDeviceState(Flux.fromIterable(deviceState)))
            .onErrorMap(e -> SourceGuest.failure("take its device state", e)));
  }

  /** {@return whether the source may be told that the guest could be started} */
  boolean isPrepared() {
    deviceState.clear();
    return takeOver.take(TakeOver.Event.LOADED) == TakeOver.Action.SAY_PREPARED;
  }

  /** Starts it. Not for the sake of the connection. */
  void start() {
    if (takeOver.take(TakeOver.Event.COMMIT) != TakeOver.Action.START_GUEST) {
      throw MigrationRun.cancelled();
    }
    SafeCall.on(Schedulers.boundedElastic(), spec.guest()::resume)
        .subscribe(nothing -> {}, this::startFailed, this::started);
  }

  private void started() {
    if (takeOver.take(TakeOver.Event.STARTED) == TakeOver.Action.SAY_RUNNING) { // not given up
      onRunning.run();
    }
  }

  /** It must not run here if the source is told that it does not. */
  private void startFailed(Throwable e) {
    SafeCall.on(Schedulers.boundedElastic(), spec.guest()::pause)
        .timeout(spec.peerTimeout(), timer)
        .subscribe(nothing -> {}, unstopped -> startUnclear(e, unstopped), () -> notStarted(e));
  }

  private void notStarted(Throwable e) {
    takeOver.take(TakeOver.Event.NOT_STARTED);
    onNotStarted.accept(SourceGuest.failure("start", e));
  }

  private void startUnclear(Throwable e, Throwable unstopped) {
    unclear(
        "%s; and it could not be stopped: %s"
            .formatted(
                MigrationText.of(SourceGuest.failure("start", e)), MigrationText.of(unstopped)),
        e);
  }

  /** Waits no longer for a start that was begun. */
  void giveUpStarting(Throwable why) {
    unclear(
        "the guest has not said for %s whether it has started, and the migration ends: %s"
            .formatted(MigrationText.of(spec.peerTimeout()), MigrationText.of(why)),
        why);
  }

  /** Nobody may be told that the guest does not run here. */
  private void unclear(String what, Throwable e) {
    if (takeOver.take(TakeOver.Event.UNCLEAR) != null) {
      onUnclear.accept(
          MigrationException.of(
              Kind.GUEST,
              what + "; it may run here: look whether it does before it is resumed at the source",
              e));
    }
  }
}
