package io.pageflux.migration;

import java.time.Duration;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import reactor.util.retry.Retry;

/**
 * What an outgoing migration does besides, at the turns of its life.
 *
 * @param hooks what is done before and after each round
 * @param pauseBeforeSwitchover how long, at the most, the migration waits with the guest paused,
 *     before its last round, for {@link OutgoingMigration#continueMigration()}; null not to wait.
 *     QEMU's capability {@code pause-before-switchover}
 * @param releaseRam whether the guest's memory is given back to the machine when the destination
 *     has said that the guest runs there. QEMU's capability {@code release-ram}
 * @param pageSaver makes what may take pages over, if the destination offers memory; null not to
 *     ask for an offer
 * @param postcopy how the migration may switch to post-copy, if the destination can; null not to
 *     agree on it. QEMU's capability {@code postcopy-ram}
 * @param resume when and how often a lost connection is made again; null to fail with it
 */
public record OutgoingLifecycle(
    MigrationHooks hooks,
    @Nullable Duration pauseBeforeSwitchover,
    boolean releaseRam,
    PageSaver.@Nullable Maker pageSaver,
    @Nullable OutgoingPostcopySpec postcopy,
    @Nullable Retry resume) {

  /** Nothing of that. */
  public static final OutgoingLifecycle NONE =
      new OutgoingLifecycle(MigrationHooks.NONE, null, false, null, null, null);

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if the pause is not positive
   */
  public OutgoingLifecycle {
    Objects.requireNonNull(hooks, "hooks");
    if (pauseBeforeSwitchover != null) {
      OutgoingSpec.requirePositive(pauseBeforeSwitchover, "pauseBeforeSwitchover");
    }
  }

  /** {@return this with other hooks} */
  public OutgoingLifecycle withHooks(MigrationHooks hooks) {
    return new OutgoingLifecycle(
        hooks, pauseBeforeSwitchover, releaseRam, pageSaver, postcopy, resume);
  }

  /** {@return this with another pause before the switch-over; null for none} */
  public OutgoingLifecycle withPauseBeforeSwitchover(@Nullable Duration atMost) {
    return new OutgoingLifecycle(hooks, atMost, releaseRam, pageSaver, postcopy, resume);
  }

  /** {@return this with the guest's memory given back at the end, or not} */
  public OutgoingLifecycle withReleaseRam(boolean releaseRam) {
    return new OutgoingLifecycle(
        hooks, pauseBeforeSwitchover, releaseRam, pageSaver, postcopy, resume);
  }

  /** {@return this with another page saver; null for none} */
  public OutgoingLifecycle withPageSaver(PageSaver.@Nullable Maker pageSaver) {
    return new OutgoingLifecycle(
        hooks, pauseBeforeSwitchover, releaseRam, pageSaver, postcopy, resume);
  }

  /** {@return this with another way to switch to post-copy; null for none} */
  public OutgoingLifecycle withPostcopy(@Nullable OutgoingPostcopySpec postcopy) {
    return new OutgoingLifecycle(
        hooks, pauseBeforeSwitchover, releaseRam, pageSaver, postcopy, resume);
  }

  /** {@return this with another way to make a lost connection again; null for none} */
  public OutgoingLifecycle withResume(@Nullable Retry resume) {
    return new OutgoingLifecycle(
        hooks, pauseBeforeSwitchover, releaseRam, pageSaver, postcopy, resume);
  }
}
