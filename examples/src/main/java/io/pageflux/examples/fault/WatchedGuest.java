package io.pageflux.examples.fault;

import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvVerification;
import io.pageflux.migration.Guest;
import java.time.Duration;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/** A guest that runs once or says so, can be verified, and may not do what it is told to. */
final class WatchedGuest implements Guest {

  /** How it is said that it cannot be verified, for it does not stand still. */
  static final String HANGS = "the guest does not pause";

  private final KvGuest guest;
  private final RunLock lock;
  private final Runnable beforeStart;
  private volatile Scenario moody = Scenario.NOTHING;
  private volatile Duration slowness = Duration.ZERO;
  private volatile Runnable refusing = () -> {};

  /**
   * @param beforeStart called before the guest runs
   */
  WatchedGuest(KvGuest guest, RunLock lock, Runnable beforeStart) {
    this.guest = guest;
    this.lock = lock;
    this.beforeStart = beforeStart;
  }

  /**
   * Has it refuse what a scenario says, from now on.
   *
   * @param time how long it takes where it is slow
   * @param happening called when it does not do what it is told to
   */
  void refuse(Scenario scenario, Duration time, Runnable happening) {
    refusing = happening;
    moody = scenario;
    slowness = time;
  }

  boolean isRunning() {
    return guest.isRunning();
  }

  @Override
  public Mono<Void> pause() {
    return Mono.defer(
        () ->
            moody == Scenario.GUEST_DOES_NOT_PAUSE
                ? refused("the guest does not pause")
                : guest.pause().then(Mono.fromRunnable(lock::release)));
  }

  @Override
  public Mono<Void> resume() {
    return Mono.defer(
        () -> {
          if (moody == Scenario.GUEST_DOES_NOT_START) {
            return refused("the guest does not start");
          }
          if (moody == Scenario.GUEST_STARTS_SLOWLY) {
            refusing.run();
            return Mono.delay(slowness).then(Mono.defer(this::start));
          }
          return start();
        });
  }

  private Mono<Void> refused(String what) {
    refusing.run();
    return Mono.error(new IllegalStateException(what));
  }

  private Mono<Void> start() {
    lock.take();
    beforeStart.run();
    Mono<Void> started = guest.resume();
    return moody == Scenario.GUEST_STARTS_AND_SAYS_IT_DID_NOT
        ? started.then(Mono.defer(() -> refused("the guest says it does not start")))
        : started;
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return guest.saveDeviceState();
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return switch (moody) {
      case GUEST_DOES_NOT_LOAD -> refused("the guest does not take its state");
      case OUT_OF_MEMORY_LOADING -> {
        refusing.run();
        throw new OutOfMemoryError("no memory for the guest's state");
      }
      default -> guest.loadDeviceState(pieces);
    };
  }

  /**
   * Looks at every page, the guest standing still meanwhile. {@return what is wrong, or nothing}
   */
  String verify() {
    boolean ran = guest.isRunning();
    try {
      // Its threads may wait for pages that nobody will send.
      guest.pause().subscribeOn(Schedulers.boundedElastic()).block(Side.LIMIT);
    } catch (IllegalStateException e) {
      return HANGS + " within " + Side.LIMIT;
    }
    try {
      KvVerification found = guest.verify();
      if (!found.ok()) {
        return "wrong pages: " + found.findings();
      }
      if (found.updates() != guest.updates()) {
        return "%d updates are in memory, of %d".formatted(found.updates(), guest.updates());
      }
      return "";
    } catch (RuntimeException e) {
      return "wrong pages: " + e.getMessage();
    } finally {
      if (ran) {
        guest.resume().block();
      }
    }
  }

  /** Stops it. */
  void stop() {
    guest.close();
    lock.release();
  }
}
