package io.pageflux.examples.image;

import io.pageflux.MigrationException;
import io.pageflux.migration.Guest;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A guest that another process runs: it is paused, and let go on after a failure, by commands of
 * the shell.
 */
final class CommandGuest implements Guest {

  /** A means to throttle it. May be used by any thread. */
  interface Throttle {
    /**
     * Takes a part of its time from the guest.
     *
     * @param percent 0 to 99
     */
    void set(int percent);

    /** Does nothing with the guest of its own accord any more. */
    void hold();
  }

  private final @Nullable String pauseCommand;
  private final @Nullable String resumeCommand;
  private final Duration patience;
  private volatile @Nullable Throttle throttle;
  private boolean paused;
  private volatile @Nullable String resumeFailure;

  /**
   * @param pauseCommand pauses the guest; null if nothing needs to be done for it
   * @param resumeCommand lets it go on; null likewise
   * @param patience how long a command may take
   */
  CommandGuest(@Nullable String pauseCommand, @Nullable String resumeCommand, Duration patience) {
    this.pauseCommand = pauseCommand;
    this.resumeCommand = resumeCommand;
    this.patience = patience;
  }

  /** {@return whether the guest was paused, or the attempt made, and it was not resumed since} */
  synchronized boolean isPaused() {
    return paused;
  }

  /** {@return why the guest could not be resumed; null if it could} */
  @Nullable String resumeFailure() {
    return resumeFailure;
  }

  @Override
  public Mono<Void> pause() {
    return Mono.fromRunnable(this::pauseNow);
  }

  private synchronized void pauseNow() {
    if (paused) {
      return;
    }
    // Before the command runs: if it fails half-way, the guest may be paused.
    paused = true;
    Throttle means = throttle;
    if (means != null) {
      // A process that is stopped and let go on in turns must not be let go on after this.
      means.hold();
    }
    run("--on-switchover", pauseCommand, patience);
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromRunnable(this::resumeNow);
  }

  private synchronized void resumeNow() {
    if (!paused) {
      return;
    }
    paused = false;
    try {
      run("--on-failure", resumeCommand, patience);
    } catch (MigrationException e) {
      resumeFailure = e.getMessage();
      throw e;
    }
  }

  /** Has the guest throttled by some means; null for none. {@return this guest} */
  CommandGuest withThrottle(@Nullable Throttle means) {
    this.throttle = means;
    return this;
  }

  @Override
  public boolean canThrottle() {
    return throttle != null;
  }

  @Override
  public Mono<Void> throttle(int percent) {
    Throttle means = throttle;
    return means == null
        ? Guest.super.throttle(percent)
        : Mono.fromRunnable(() -> means.set(percent));
  }

  private static void run(String option, @Nullable String command, Duration patience) {
    if (command != null) {
      new ShellCommand(option, command, patience).run();
    }
  }
}
