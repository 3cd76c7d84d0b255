package io.pageflux.checkpoint;

import java.util.Objects;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * The source's side of continuous checkpoints: copies the memory of a running guest to the
 * destination once, and then sends how it is now, every so often or on demand.
 *
 * <p>For a checkpoint the guest is paused while the dirty pages are found and copied into the
 * staging area; it runs again before they are tested for zeros, made deltas, compressed and sent.
 * One checkpoint is on its way at a time: while it has not been acknowledged, the next one waits.
 *
 * <p>Cold and re-subscribable: each subscription connects anew and copies everything first.
 *
 * <p><b>Threading:</b> memory is scanned and copied, and the guest paused and resumed, on a thread
 * of the session's own; events come from various threads, one at a time. Nothing may be blocked in
 * {@code onNext} for long.
 *
 * <p><b>Memory bound:</b> {@link OutgoingCheckpointSpec#stagingBytes()} and the XBZRLE cache
 * outside both heap and direct memory; what the compression workers use (about 1 MiB each) of
 * direct memory; two bits per page, 13 bytes per staged page and one device state on the heap.
 *
 * <p><b>Errors:</b> a {@link io.pageflux.MigrationException}; when it arrives the guest runs,
 * unless it says that the guest could not go on. What the destination has not acknowledged is not
 * remembered: the next session begins with all of the memory.
 */
public final class OutgoingCheckpoints {

  private final OutgoingCheckpointSpec spec;

  private OutgoingCheckpoints(OutgoingCheckpointSpec spec) {
    this.spec = spec;
  }

  /** {@return checkpoints by a spec} Nothing happens yet. */
  public static OutgoingCheckpoints of(OutgoingCheckpointSpec spec) {
    return new OutgoingCheckpoints(Objects.requireNonNull(spec, "spec"));
  }

  /** {@return what these checkpoints are built from} */
  public OutgoingCheckpointSpec spec() {
    return spec;
  }

  /** Asks for a checkpoint at once: see {@link CheckpointTrigger#request()}. */
  public void checkpointNow() {
    spec.trigger().request();
  }

  /**
   * Takes checkpoints until the destination or the line fails, and tells of them.
   *
   * <p><b>Demand:</b> events, one for each round or checkpoint, wait for it. The checkpoints do
   * not.
   *
   * <p><b>Discard and cancel:</b> cancelling stops the session as the stop of {@link #events(Mono)}
   * does, but tells nobody when that is done.
   *
   * @return does not complete
   */
  public Flux<CheckpointEvent> events() {
    return events(Mono.never());
  }

  /**
   * Takes checkpoints until somebody asks for it to stop, and tells of them.
   *
   * @param stop when this completes or emits, the session ends: the guest runs, the destination is
   *     told, everything is freed, and then the flux completes. A checkpoint that is on its way is
   *     given up
   * @return as {@link #events()}
   */
  public Flux<CheckpointEvent> events(Mono<?> stop) {
    Objects.requireNonNull(stop, "stop");
    return CheckpointRun.events(
        stop, (events, stopped) -> new CheckpointSource(spec, stopped, events).run());
  }
}
