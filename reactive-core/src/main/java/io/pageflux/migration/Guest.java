package io.pageflux.migration;

import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Whatever writes into the memory that is migrated, as a migration needs to see it.
 *
 * <p>All publishers are cold. They are subscribed to on threads that may block.
 */
public interface Guest {

  /**
   * Stops the guest. When this completes, nobody writes into its memory, and its device state does
   * not change any more. Pausing a paused guest does nothing.
   */
  Mono<Void> pause();

  /** Lets the guest run, on the memory as it is. Resuming a running guest does nothing. */
  Mono<Void> resume();

  /** {@return whether {@link #throttle} does something} Asked before each throttle. */
  default boolean canThrottle() {
    return false;
  }

  /**
   * Takes a part of its time from the guest, so that it writes less: of each moment it runs for
   * {@code 100 - percent} percent.
   *
   * <p>One call follows the end of the one before, but {@link #pause()} and {@link #resume()} may
   * come at any time, on other threads. A throttled guest can be paused, and stays paused whatever
   * is done to its throttle. At the end of a migration, however it ends, a throttle that was set,
   * or whose setting was begun, is lifted with 0. A call that takes too long is cancelled.
   *
   * @param percent 0 (the guest has all its time) to 99
   */
  default Mono<Void> throttle(int percent) {
    return Mono.error(new UnsupportedOperationException("the guest cannot be throttled"));
  }

  /**
   * What there is to the guest besides its memory, in pieces of any size; opaque to the migration.
   * Asked for while the guest is paused, at the source.
   */
  default Flux<byte[]> saveDeviceState() {
    return Flux.empty();
  }

  /**
   * Takes what {@link #saveDeviceState()} gave, at the destination, in order but not necessarily in
   * the same pieces; memory is complete by then.
   */
  default Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return pieces.then();
  }

  /** {@return a guest that nothing needs to be done for} Its memory must not change by itself. */
  static Guest passive() {
    return new Guest() {
      @Override
      public Mono<Void> pause() {
        return Mono.empty();
      }

      @Override
      public Mono<Void> resume() {
        return Mono.empty();
      }
    };
  }
}
