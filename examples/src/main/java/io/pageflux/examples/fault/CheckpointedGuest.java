package io.pageflux.examples.fault;

import io.pageflux.examples.fault.CheckpointPlan.Strike;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * A guest of which checkpoints are taken: notes what its memory is in each, and has its process
 * killed at a moment.
 *
 * <p>A checkpoint's device state is read while the guest is paused and before the checkpoint's end
 * is said. So what is noted then is noted before the destination can have all of it.
 */
final class CheckpointedGuest implements Guest {

  private final Guest guest;
  private final GuestMemory memory;
  private final CheckpointNotes.Writer notes;
  private final CheckpointPlan plan;
  private final Duration sendingFor;
  private final Runnable striking;
  private final AtomicLong taken = new AtomicLong();
  private final AtomicLong moments = new AtomicLong();

  /**
   * @param sendingFor how long a checkpoint is sent before its source is killed, if it is then
   * @param striking called when the plan's moment has come
   */
  CheckpointedGuest(
      Guest guest,
      GuestMemory memory,
      CheckpointNotes.Writer notes,
      CheckpointPlan plan,
      Duration sendingFor,
      Runnable striking) {
    this.guest = guest;
    this.memory = memory;
    this.notes = notes;
    this.plan = plan;
    this.sendingFor = sendingFor;
    this.striking = striking;
  }

  private boolean isTime(Strike moment) {
    return moment == plan.strike() && moments.incrementAndGet() == plan.strikeAt();
  }

  private void at(Strike moment) {
    if (isTime(moment)) {
      striking.run();
      if (plan.lingering()) {
        LockSupport.parkNanos(CheckpointPlan.LINGERING.toNanos());
      }
    }
  }

  @Override
  public Mono<Void> pause() {
    return Mono.defer(
        () -> {
          at(Strike.PAUSE);
          return guest.pause();
        });
  }

  @Override
  public Mono<Void> resume() {
    return Mono.defer(
        () -> {
          at(Strike.RESUME);
          if (isTime(Strike.SENDING)) {
            Schedulers.parallel().schedule(striking, sendingFor.toNanos(), TimeUnit.NANOSECONDS);
          }
          return guest.resume();
        });
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return Flux.defer(
        () -> {
          at(Strike.STATE);
          notes.taken(taken.incrementAndGet(), CheckpointNotes.digest(memory));
          return guest.saveDeviceState();
        });
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return guest.loadDeviceState(pieces);
  }
}
