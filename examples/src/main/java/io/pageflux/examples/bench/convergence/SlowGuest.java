package io.pageflux.examples.bench.convergence;

import io.pageflux.migration.Guest;
import java.time.Duration;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A guest that is not done when it has stopped, as one whose devices finish what they are at.
 *
 * @param pausing how long that takes
 * @param loading how long its state takes to be loaded
 */
record SlowGuest(Guest guest, Duration pausing, Duration loading) implements Guest {

  @Override
  public Mono<Void> pause() {
    return guest.pause().then(after(pausing));
  }

  private static Mono<Void> after(Duration time) {
    return time.isZero() ? Mono.empty() : Mono.delay(time).then();
  }

  @Override
  public Mono<Void> resume() {
    return guest.resume();
  }

  @Override
  public boolean canThrottle() {
    return guest.canThrottle();
  }

  @Override
  public Mono<Void> throttle(int percent) {
    return guest.throttle(percent);
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return guest.saveDeviceState();
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return guest.loadDeviceState(pieces).then(after(loading));
  }
}
