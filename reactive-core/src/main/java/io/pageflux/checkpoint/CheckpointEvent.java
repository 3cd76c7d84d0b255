package io.pageflux.checkpoint;

import io.pageflux.MigrationException;
import java.time.Duration;

/** What happens in a session of checkpoints. */
public sealed interface CheckpointEvent {

  /**
   * A round of the first copy is at the destination, at either side. No checkpoint is there yet.
   *
   * @param round its number, from 1
   * @param dirtyPages pages that it was to bring
   * @param sentPages pages that it has brought
   */
  record Copied(int round, long dirtyPages, long sentPages) implements CheckpointEvent {}

  /**
   * A checkpoint was acknowledged. At the source.
   *
   * @param report how it went
   */
  record Acknowledged(CheckpointReport report) implements CheckpointEvent {}

  /**
   * A checkpoint is in memory. At the destination.
   *
   * @param number its number, from 1
   * @param pages pages that it has changed
   * @param deltaPages those of them that came as a difference
   * @param stagedBytes bytes of the staging area that it took
   * @param applying how long it took to put it into memory
   */
  record Held(long number, long pages, long deltaPages, long stagedBytes, Duration applying)
      implements CheckpointEvent {}

  /**
   * The session has ended, and memory is that of a checkpoint. At the destination; the last event.
   *
   * @param checkpoint which one
   * @param reason why the session has ended
   * @param started whether the guest was started from it
   */
  record Ended(HeldCheckpoint checkpoint, MigrationException reason, boolean started)
      implements CheckpointEvent {}
}
