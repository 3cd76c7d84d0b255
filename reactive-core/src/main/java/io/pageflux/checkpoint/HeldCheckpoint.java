package io.pageflux.checkpoint;

import io.pageflux.migration.Guest;
import java.util.List;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A checkpoint that a destination holds: its memory is in the destination's memory.
 *
 * @param number its number, from 1
 * @param deviceState the guest's device state, in pieces
 */
public record HeldCheckpoint(long number, List<byte[]> deviceState) {

  /** Copies the list. */
  public HeldCheckpoint {
    deviceState = List.copyOf(deviceState);
  }

  /**
   * Gives a guest its device state and starts it. Once, when the session has ended, and when it is
   * certain that the source's guest cannot run any more.
   *
   * @param guest has the memory that the checkpoint is in
   * @return cold; fails as the guest does
   */
  public Mono<Void> startGuest(Guest guest) {
    return Mono.defer(() -> guest.loadDeviceState(Flux.fromIterable(deviceState)))
        .then(Mono.defer(guest::resume));
  }

  @Override
  public String toString() {
    return "checkpoint " + number;
  }
}
