package io.pageflux.checkpoint;

import java.util.Objects;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * The destination's side of continuous checkpoints: holds a guest as it was at its source a moment
 * ago.
 *
 * <p>A checkpoint is collected in a staging area, and put into memory when it is complete. One that
 * is not complete when the session ends is thrown away.
 *
 * <p>Cold and re-subscribable: each subscription waits for a connection of its own.
 *
 * <p><b>Threading:</b> as {@link io.pageflux.migration.IncomingMigration}; checkpoints are put into
 * memory on a thread of the session's own.
 *
 * <p><b>Memory bound:</b> {@link IncomingCheckpointSpec#stagingBytes()} outside heap and direct
 * memory; {@code 2 * workers + 2} slabs of the source's batch geometry and about 1 MiB for each
 * worker of direct memory; a bit per page and two device states on the heap.
 *
 * <p><b>Errors:</b> a {@link io.pageflux.MigrationException}, if the session ends before the first
 * checkpoint is complete: memory is of no use then. Once there is one, no failure of the source,
 * the line or what they send is an error of this flux, but the reason in {@link
 * CheckpointEvent.Ended}. With {@link FailOver#START} a guest that could not be started is an
 * error; memory is that of the checkpoint that it names.
 */
public final class IncomingCheckpoints {

  private final IncomingCheckpointSpec spec;

  private IncomingCheckpoints(IncomingCheckpointSpec spec) {
    this.spec = spec;
  }

  /** {@return checkpoints by a spec} Nothing happens yet. */
  public static IncomingCheckpoints of(IncomingCheckpointSpec spec) {
    return new IncomingCheckpoints(Objects.requireNonNull(spec, "spec"));
  }

  /** {@return what these checkpoints are built from} */
  public IncomingCheckpointSpec spec() {
    return spec;
  }

  /**
   * Waits for a source, and holds its checkpoints until it is lost.
   *
   * <p><b>Demand:</b> events, one for each round or checkpoint, wait for it. The checkpoints do
   * not.
   *
   * <p><b>Discard and cancel:</b> cancelling stops the session as the stop of {@link #events(Mono)}
   * does, but tells nobody when that is done.
   *
   * @return ends with {@link CheckpointEvent.Ended}, or in error
   */
  public Flux<CheckpointEvent> events() {
    return events(Mono.never());
  }

  /**
   * Waits for a source, and holds its checkpoints until it is lost or somebody asks for it to stop.
   *
   * @param stop when this completes or emits, the session ends: the source is told, whose guest
   *     goes on, everything is freed, and nothing is started here
   * @return as {@link #events()}
   */
  public Flux<CheckpointEvent> events(Mono<?> stop) {
    Objects.requireNonNull(stop, "stop");
    return CheckpointRun.events(
        stop, (events, stopped) -> new CheckpointDestination(spec, stopped, events).run());
  }
}
