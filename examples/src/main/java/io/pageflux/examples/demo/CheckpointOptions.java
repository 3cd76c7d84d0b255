package io.pageflux.examples.demo;

import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.ExitCode;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** What the demonstration can be told of checkpoints. */
final class CheckpointOptions {

  private static final ByteSize DEFAULT_STAGING = new ByteSize(64 << 20);

  @Option(
      names = "--checkpoint",
      paramLabel = "INTERVAL",
      description =
          "Take a checkpoint so often instead of migrating; then kill the source's process, and have"
              + " the guest go on from the last one.")
  private @Nullable Duration interval;

  @Option(
      names = "--checkpoints",
      paramLabel = "N",
      description = "How many checkpoints the source lives for (5).")
  private @Nullable Integer count;

  @Option(
      names = "--checkpoint-staging",
      paramLabel = "SIZE",
      description =
          "Memory that a checkpoint's pages are copied to while the guest is paused (64m).")
  private @Nullable ByteSize staging;

  @Option(
      names = "--checkpoint-on-enter",
      description =
          "Take a checkpoint also whenever a line comes on standard input: with a long interval, only"
              + " then.")
  private boolean onEnter;

  /** Made by picocli. */
  CheckpointOptions() {}

  boolean isGiven() {
    return interval != null;
  }

  boolean onEnter() {
    return onEnter;
  }

  Duration interval() {
    return Objects.requireNonNull(interval);
  }

  int count() {
    return count == null ? 5 : count;
  }

  long stagingBytes() {
    return (staging == null ? DEFAULT_STAGING : staging).bytes();
  }

  void requireSense() {
    if (interval == null) {
      if (count != null || staging != null || onEnter) {
        throw usage(
            "--checkpoints, --checkpoint-staging and --checkpoint-on-enter go with --checkpoint"
                + " INTERVAL");
      }
      return;
    }
    if (interval.isZero()) {
      throw usage("--checkpoint must be more than 0");
    }
    if (count() < 1) {
      throw usage("--checkpoints must be 1 or more, but it was " + count());
    }
    if (stagingBytes() < 1 << 20) {
      throw usage("--checkpoint-staging must be 1m or more, but it was " + stagingBytes());
    }
  }

  private static CliException usage(String message) {
    return new CliException(message, ExitCode.USAGE);
  }

  List<String> arguments() {
    return interval == null
        ? List.of()
        : List.of(
            "--checkpoint=" + interval.toNanos() / 1000 + "us",
            "--checkpoints=" + count(),
            "--checkpoint-staging=" + stagingBytes());
  }
}
