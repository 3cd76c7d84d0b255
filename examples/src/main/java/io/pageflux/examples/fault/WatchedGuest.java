package io.pageflux.examples.fault;

import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvVerification;
import io.pageflux.migration.Guest;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A guest that runs once or says so, can be verified, and may not do what it is told to. */
final class WatchedGuest implements Guest {

  private final KvGuest guest;
  private final RunLock lock;
  private final Runnable beforeStart;
  private volatile Scenario moody = Scenario.NOTHING;

  /**
   * @param beforeStart called before the guest runs
   */
  WatchedGuest(KvGuest guest, RunLock lock, Runnable beforeStart) {
    this.guest = guest;
    this.lock = lock;
    this.beforeStart = beforeStart;
  }

  /** Has it refuse what a scenario says, from now on. */
  void refuse(Scenario scenario) {
    moody = scenario;
  }

  boolean isRunning() {
    return guest.isRunning();
  }

  @Override
  public Mono<Void> pause() {
    return Mono.defer(
        () ->
            moody == Scenario.GUEST_DOES_NOT_PAUSE
                ? Mono.error(new IllegalStateException("the guest does not pause"))
                : guest.pause().then(Mono.fromRunnable(lock::release)));
  }

  @Override
  public Mono<Void> resume() {
    return Mono.defer(
        () -> {
          if (moody == Scenario.GUEST_DOES_NOT_START) {
            return Mono.error(new IllegalStateException("the guest does not start"));
          }
          lock.take();
          beforeStart.run();
          return guest.resume();
        });
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return guest.saveDeviceState();
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return switch (moody) {
      case GUEST_DOES_NOT_LOAD ->
          Mono.error(new IllegalStateException("the guest does not take its state"));
      case OUT_OF_MEMORY_LOADING -> throw new OutOfMemoryError("no memory for the guest's state");
      default -> guest.loadDeviceState(pieces);
    };
  }

  /**
   * Looks at every page, the guest standing still meanwhile. {@return what is wrong, or nothing}
   */
  String verify() {
    boolean ran = guest.isRunning();
    try {
      guest.pause().block();
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
