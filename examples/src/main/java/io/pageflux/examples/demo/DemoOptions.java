package io.pageflux.examples.demo;

import io.pageflux.convergence.ConvergenceDecision;
import io.pageflux.convergence.ConvergenceLimits;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.PostcopyPolicy;
import io.pageflux.convergence.SwitchOverCost;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.CodecChoice;
import io.pageflux.examples.cli.ConvergenceOptions;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.LimitAction;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.RamBlockLayout;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What the demonstration can be told; its two processes are told the same. */
final class DemoOptions {

  private static final long DEFAULT_CACHE_BYTES = 64 << 20;

  @Option(
      names = "--size",
      paramLabel = "SIZE",
      defaultValue = "1g",
      description = "The guest's memory (${DEFAULT-VALUE}).")
  private ByteSize size = new ByteSize(0);

  @Option(
      names = "--dirty-rate",
      paramLabel = "RATE",
      defaultValue = "100m",
      description =
          "What the guest writes per second, 4096 bytes for each update of a record"
              + " (${DEFAULT-VALUE}).")
  private ByteRate dirtyRate = new ByteRate(0);

  @Option(
      names = "--writers",
      paramLabel = "N",
      defaultValue = "2",
      description = "How many threads of the guest write (${DEFAULT-VALUE}).")
  private int writers;

  @Option(
      names = "--link-rate",
      paramLabel = "RATE",
      description = "Send no more than this per second (no limit).")
  private @Nullable ByteRate linkRate;

  @Option(
      names = "--codec",
      paramLabel = "CODEC",
      defaultValue = "xbzrle+zstd:1",
      description = "none, xbzrle, zstd:LEVEL or xbzrle+zstd:LEVEL (${DEFAULT-VALUE}).")
  private CodecChoice codec = new CodecChoice(false, OptionalInt.empty());

  @Option(
      names = "--xbzrle-cache",
      paramLabel = "SIZE",
      description =
          "Memory for sending deltas of pages (a quarter of the guest's, but 64m at the least).")
  private @Nullable ByteSize xbzrleCache;

  @Option(
      names = "--workers",
      paramLabel = "N",
      defaultValue = "2",
      description = "How many threads compress and decompress (${DEFAULT-VALUE}).")
  private int workers;

  @Option(
      names = "--downtime-limit",
      paramLabel = "DURATION",
      defaultValue = "300ms",
      description = "Switch over when the rest takes no longer than this (${DEFAULT-VALUE}).")
  private Duration downtimeLimit = Duration.ZERO;

  @Option(
      names = "--max-rounds",
      paramLabel = "N",
      description =
          "Rounds before --on-limit decides about a guest that writes faster than it can be sent (100;"
              + " 30 without --auto-converge, --intent and --ramp-downtime).")
  private @Nullable Integer maxRounds;

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      defaultValue = "10m",
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

  @Option(
      names = "--shared-memory",
      description =
          "Let the source write whole pages to the destination's memory itself, as both are on this"
              + " machine; the stream says which.")
  private boolean sharedMemory;

  @Option(
      names = "--postcopy",
      description =
          "Let the guest go on at the destination before all of its memory is there, when"
              + " --postcopy-after says; the limits of downtime and rounds have no meaning then.")
  private boolean postcopy;

  @Option(
      names = "--postcopy-after",
      paramLabel = "ROUNDS",
      description =
          "With --postcopy, how many rounds are sent before: 0 for a second, at the most, of the"
              + " first one (1; with --control, until 'pageflux ctl' says postcopy).")
  private @Nullable Integer postcopyAfter;

  @Option(
      names = "--break-at",
      paramLabel = "PERCENT",
      split = ",",
      description =
          "Cut the connection when so much of the memory has been read to be sent, such as 50%%, or"
              + " 30%%,90%%; it is made again. One that was given twice cuts the next one, too.")
  private List<String> breaks = List.of();

  @Option(
      names = "--control",
      paramLabel = "unix:PATH",
      description = "Listen there for 'pageflux ctl' while the migration runs.")
  private @Nullable Endpoint control;

  @Mixin private ConvergenceOptions convergence = new ConvergenceOptions();

  @Mixin private CheckpointOptions checkpoints = new CheckpointOptions();

  @Option(
      names = "--run-after",
      paramLabel = "DURATION",
      defaultValue = "1s",
      description =
          "How long the guest runs at the destination before it is verified (${DEFAULT-VALUE}).")
  private Duration runAfter = Duration.ZERO;

  /** Made by picocli. */
  DemoOptions() {}

  long sizeBytes() {
    return size.bytes();
  }

  long dirtyBytesPerSecond() {
    return dirtyRate.bytesPerSecond();
  }

  KvLoad load() {
    return new KvLoad(dirtyRate.bytesPerSecond(), writers);
  }

  /** {@return bytes per second; 0 for no limit} */
  long linkBytesPerSecond() {
    return linkRate == null ? 0 : linkRate.bytesPerSecond();
  }

  CodecChoice codec() {
    return codec;
  }

  long xbzrleCacheBytes() {
    return xbzrleCache == null
        ? Math.max(DEFAULT_CACHE_BYTES, size.bytes() / 4)
        : xbzrleCache.bytes();
  }

  boolean postcopy() {
    return postcopy;
  }

  private int postcopyAfter() {
    return postcopyAfter == null ? 1 : postcopyAfter;
  }

  boolean sharedMemory() {
    return sharedMemory;
  }

  /** {@return at how many percent the connection is cut, ascending} */
  int[] breaks() {
    return breaks.stream().mapToInt(DemoOptions::percent).sorted().toArray();
  }

  private static int percent(String text) {
    String number = text.endsWith("%") ? text.substring(0, text.length() - 1) : text;
    int percent;
    try {
      percent = Integer.parseInt(number);
    } catch (NumberFormatException e) {
      percent = 0;
    }
    if (percent < 1 || percent > 99) {
      throw usage("--break-at must be 1% to 99%, but it was " + text);
    }
    return percent;
  }

  /** {@return where somebody may control the migration; null for nowhere} */
  @Nullable Path control() {
    return control instanceof Endpoint.Unix unix ? unix.path() : null;
  }

  CheckpointOptions checkpoints() {
    return checkpoints;
  }

  int workers() {
    return workers;
  }

  Duration downtimeLimit() {
    return downtimeLimit;
  }

  ConvergenceLimits limits() {
    int rounds = maxRounds != null ? maxRounds : convergence.isGiven() ? 100 : 30;
    return new ConvergenceLimits(downtimeLimit, rounds, timeout, onLimit.atLimit());
  }

  /** Nobody's guest is throttled who has not asked for it. */
  ConvergencePolicy.Maker policy() {
    if (!postcopy) {
      return convergence.policyOr(LimitPolicy::new);
    }
    ConvergencePolicy.Maker waiting =
        limits -> figures -> new ConvergenceDecision.Wait("post-copy was asked for");
    return isPostcopyByCommand()
        ? waiting
        : PostcopyPolicy.after(
            waiting, postcopyAfter(), postcopyAfter() == 0 ? Duration.ZERO : timeout);
  }

  /** Nobody else is to switch, if somebody can and no other time was given. */
  private boolean isPostcopyByCommand() {
    return postcopy && control != null && postcopyAfter == null;
  }

  SwitchOverCost switchOverCost() {
    return convergence.switchOverCost();
  }

  String policyText() {
    if (isPostcopyByCommand()) {
      return "post-copy by command";
    }
    return postcopy ? "post-copy after %d round(s)".formatted(postcopyAfter()) : convergence.text();
  }

  Duration runAfter() {
    return runAfter;
  }

  /** Refuses what no process could work with, before one is started. */
  void requireSense() {
    int page = RamBlockLayout.DEFAULT_PAGE_SIZE_BYTES;
    if (size.bytes() < KvGuest.MIN_BYTES || size.bytes() % page != 0) {
      throw usage(
          "--size must be at least %d and a multiple of %d bytes, but it was %d"
              .formatted(KvGuest.MIN_BYTES, page, size.bytes()));
    }
    if (writers < 1 || writers > KvLoad.MAX_THREADS) {
      throw usage(
          "--writers must be 1 to %d, but it was %d".formatted(KvLoad.MAX_THREADS, writers));
    }
    if (workers < 1 || workers > 64) {
      throw usage("--workers must be 1 to 64, but it was " + workers);
    }
    convergence.requireSense();
    if (postcopyAfter() < 0) {
      throw usage("--postcopy-after must be 0 or more, but it was " + postcopyAfter);
    }
    if (postcopyAfter != null && !postcopy) {
      throw usage("--postcopy-after goes with --postcopy");
    }
    if (postcopy && (convergence.isGiven() || checkpoints.isGiven())) {
      throw usage(
          "--postcopy does without --intent, --auto-converge, --ramp-downtime and --checkpoint");
    }
    if (breaks().length > 0 && (sharedMemory || checkpoints.isGiven())) {
      throw usage("--break-at goes with neither --shared-memory nor --checkpoint");
    }
    if (control != null && (control() == null || checkpoints.isGiven())) {
      throw usage("--control is unix:PATH, and goes without --checkpoint");
    }
    checkpoints.requireSense();
    if (checkpoints.isGiven() && (sharedMemory || convergence.isGiven())) {
      throw usage(
          "--checkpoint goes with neither --shared-memory, --auto-converge, --intent nor"
              + " --ramp-downtime");
    }
    if (timeout.isZero()) {
      throw usage("--timeout must be more than 0");
    }
    if (maxRounds != null && maxRounds < 1) {
      throw usage("--max-rounds must be 1 or more, but it was " + maxRounds);
    }
    if (codec.xbzrle() && xbzrleCacheBytes() == 0) {
      throw usage("--xbzrle-cache must be more than 0; without xbzrle, give another --codec");
    }
  }

  private static CliException usage(String message) {
    return new CliException(message, ExitCode.USAGE);
  }

  /** {@return arguments from which a process gets the same options} */
  List<String> arguments() {
    List<String> arguments = new ArrayList<>(convergence.arguments());
    arguments.addAll(
        List.of(
            "--size=" + size.bytes(),
            "--dirty-rate=" + dirtyRate.bytesPerSecond(),
            "--writers=" + writers,
            "--link-rate=" + linkBytesPerSecond(),
            "--codec=" + codec,
            "--xbzrle-cache=" + xbzrleCacheBytes(),
            "--workers=" + workers,
            "--downtime-limit=" + downtimeLimit.toNanos() / 1000 + "us",
            "--max-rounds=" + limits().maxRounds(),
            "--timeout=" + timeout.toNanos() / 1000 + "us",
            "--on-limit=" + onLimit,
            "--run-after=" + runAfter.toNanos() / 1000 + "us"));
    if (postcopy) {
      arguments.add("--postcopy");
    }
    if (postcopyAfter != null) {
      arguments.add("--postcopy-after=" + postcopyAfter);
    }
    if (!breaks.isEmpty()) {
      arguments.add("--break-at=" + String.join(",", breaks));
    }
    if (control != null) {
      arguments.add("--control=" + control);
    }
    arguments.addAll(checkpoints.arguments());
    if (sharedMemory) {
      arguments.add("--shared-memory");
    }
    return arguments;
  }
}
