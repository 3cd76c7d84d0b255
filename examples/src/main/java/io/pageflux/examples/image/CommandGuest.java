package io.pageflux.examples.image;

import io.pageflux.MigrationException;
import io.pageflux.examples.cli.Durations;
import io.pageflux.migration.Guest;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A guest that another process runs: it is paused, and let go on after a failure, by commands of
 * the shell.
 *
 * <p>What a command prints goes to standard error. A command that takes too long is killed, and
 * counts as failed, as one does that exits with another code than 0.
 */
final class CommandGuest implements Guest {

  private final @Nullable String pauseCommand;
  private final @Nullable String resumeCommand;
  private final Duration patience;
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
    run("--on-switchover", pauseCommand);
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
      run("--on-failure", resumeCommand);
    } catch (MigrationException e) {
      resumeFailure = e.getMessage();
      throw e;
    }
  }

  private void run(String option, @Nullable String command) {
    if (command == null) {
      return;
    }
    Process process;
    try {
      // Standard output may be the report's.
      process =
          new ProcessBuilder("sh", "-c", "exec 1>&2\n" + command)
              .redirectInput(new File("/dev/null"))
              .redirectOutput(ProcessBuilder.Redirect.INHERIT)
              .redirectError(ProcessBuilder.Redirect.INHERIT)
              .start();
    } catch (IOException e) {
      throw failed(option, command, "could not be started: " + e.getMessage());
    }
    try {
      if (!process.waitFor(patience.toNanos(), TimeUnit.NANOSECONDS)) {
        throw failed(option, command, "took longer than " + Durations.text(patience));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw failed(option, command, "was interrupted");
    } finally {
      kill(process);
    }
    if (process.exitValue() != 0) {
      throw failed(option, command, "failed with exit code " + process.exitValue());
    }
  }

  /** Kills a command that has not ended. One that has may leave processes, which are its affair. */
  private static void kill(Process process) {
    if (process.isAlive()) {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  private static MigrationException failed(String option, String command, String how) {
    return MigrationException.of(
        MigrationException.Kind.GUEST, "the command of %s %s: %s".formatted(option, how, command));
  }
}
