package io.pageflux.migration;

import io.pageflux.convergence.ConvergenceStep;
import org.jspecify.annotations.Nullable;

/** What a migration tells of itself while it runs. */
public sealed interface MigrationEvent {

  /** The migration is somewhere else now. */
  record StatusChanged(MigrationStatus status) implements MigrationEvent {}

  /**
   * A round begins: QEMU's {@code MIGRATION_PASS}.
   *
   * @param round its number, from 1
   * @param last whether the guest is paused
   * @param dirtyPages pages that are dirty
   */
  record RoundStarted(int round, boolean last, long dirtyPages) implements MigrationEvent {}

  /** The destination has acknowledged a round. */
  record RoundCompleted(RoundReport report) implements MigrationEvent {}

  /** How things are, now and then. Left out when the subscriber has not asked for more. */
  record Progress(MigrationInfo info) implements MigrationEvent {}

  /** Something was done so that the migration ends, or went wrong with it. */
  record Convergence(ConvergenceStep step) implements MigrationEvent {}

  /**
   * Parameters were changed while the migration runs.
   *
   * @param parameters all of them, as they are now
   * @param refused why one that was set could not be had after all; empty if nothing is wrong
   */
  record ParametersChanged(MigrationParameters parameters, String refused)
      implements MigrationEvent {}

  /**
   * The guest is about to be paused for the last round.
   *
   * @param reason why now
   */
  record SwitchOver(String reason) implements MigrationEvent {}

  /**
   * The guest runs at the destination, and its memory at the source was given back.
   *
   * @param bytes how much
   * @param failure why it, or a part of it, could not be; null if it was
   */
  record RamReleased(long bytes, @Nullable String failure) implements MigrationEvent {}

  /** The guest runs at the destination. The last event; failure is {@code onError}. */
  record Completed(MigrationInfo info) implements MigrationEvent {}
}
