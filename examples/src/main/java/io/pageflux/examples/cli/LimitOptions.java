package io.pageflux.examples.cli;

import io.pageflux.convergence.ConvergenceLimits;
import java.time.Duration;
import picocli.CommandLine.Option;

/** When a guest is handed over, and how long that is waited for. */
public final class LimitOptions {

  @Option(
      names = "--downtime-limit",
      paramLabel = "DURATION",
      defaultValue = "300ms",
      description = "Switch over when the rest takes no longer than this (${DEFAULT-VALUE}).")
  private Duration downtimeLimit = Duration.ZERO;

  @Option(
      names = "--max-rounds",
      paramLabel = "N",
      defaultValue = "100",
      description = "Rounds before --on-limit decides (${DEFAULT-VALUE}).")
  private int maxRounds;

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      defaultValue = "1h",
      description = "Time before --on-limit decides (${DEFAULT-VALUE}).")
  private Duration timeout = Duration.ZERO;

  @Option(
      names = "--on-limit",
      paramLabel = "switch|abort",
      defaultValue = "switch",
      description =
          "What to do with a guest that writes too fast: switch over all the same, or give up"
              + " (${DEFAULT-VALUE}).")
  private LimitAction onLimit = LimitAction.SWITCH;

  /** Made by picocli. */
  public LimitOptions() {}

  /**
   * Refuses what is out of range.
   *
   * @throws CliException if so
   */
  public void requireSense() {
    if (maxRounds < 1) {
      throw new CliException(
          "--max-rounds must be 1 or more, but it was " + maxRounds, ExitCode.USAGE);
    }
    if (timeout.isZero()) {
      throw new CliException("--timeout must be more than 0", ExitCode.USAGE);
    }
  }

  /** {@return what was given, as a migration takes it} */
  public ConvergenceLimits limits() {
    return new ConvergenceLimits(downtimeLimit, maxRounds, timeout, onLimit.atLimit());
  }
}
