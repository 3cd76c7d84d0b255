package io.pageflux.examples.image;

import io.pageflux.MigrationException;
import io.pageflux.examples.cli.Durations;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * A command of the shell.
 *
 * <p>What it prints goes to standard error. One that takes too long is killed, and counts as
 * failed, as one does that exits with another code than 0.
 *
 * @param option where it was given
 * @param command the command
 * @param patience how long it may take
 */
record ShellCommand(String option, String command, Duration patience) {

  /** How long a killed process may take to be gone. */
  private static final Duration DEATH = Duration.ofSeconds(5);

  /**
   * Runs it.
   *
   * @param arguments {@code $1} and so on
   * @throws MigrationException of kind {@code GUEST} if it failed
   */
  void run(String... arguments) {
    List<String> line = new ArrayList<>();
    // Standard output may be the report's.
    line.addAll(List.of("sh", "-c", "exec 1>&2\n" + command, "sh"));
    line.addAll(List.of(arguments));
    ProcessBuilder builder =
        new ProcessBuilder(line)
            .redirectInput(new File("/dev/null"))
            .redirectOutput(ProcessBuilder.Redirect.INHERIT)
            .redirectError(ProcessBuilder.Redirect.INHERIT);
    if (arguments.length > 0) {
      builder.environment().put("PAGEFLUX_THROTTLE", arguments[0]);
    }
    Process process;
    try {
      process = builder.start();
    } catch (IOException e) {
      throw failed("could not be started: " + e.getMessage());
    }
    try {
      if (!process.waitFor(patience.toNanos(), TimeUnit.NANOSECONDS)) {
        throw failed("took longer than " + Durations.text(patience));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw failed("was interrupted");
    } finally {
      kill(process);
    }
    if (process.exitValue() != 0) {
      throw failed("failed with exit code " + process.exitValue());
    }
  }

  /** Kills a command that has not ended. One that has may leave processes, which are its affair. */
  private static void kill(Process process) {
    if (!process.isAlive()) {
      return;
    }
    List<ProcessHandle> all =
        Stream.concat(process.descendants(), Stream.of(process.toHandle())).toList();
    all.forEach(ProcessHandle::destroyForcibly);
    // Whoever hears of the failure may let the guest go on: nothing is to stop it any more then.
    CompletableFuture.allOf(
            all.stream().map(ProcessHandle::onExit).toArray(CompletableFuture<?>[]::new))
        .completeOnTimeout(null, DEATH.toNanos(), TimeUnit.NANOSECONDS)
        .join();
  }

  private MigrationException failed(String how) {
    return MigrationException.of(
        MigrationException.Kind.GUEST, "the command of %s %s: %s".formatted(option, how, command));
  }
}
