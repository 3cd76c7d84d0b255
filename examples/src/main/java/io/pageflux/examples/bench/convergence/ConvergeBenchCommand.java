package io.pageflux.examples.bench.convergence;

import io.pageflux.MigrationException;
import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.RampedDowntime;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code pageflux converge-bench}. */
@Command(
    name = "converge-bench",
    header = "Have a guest converge that writes 1.5 times what the link carries, or be given up.",
    description = {
      "Three migrations of a guest over loopback with a bandwidth limit: with auto-converge, with a"
          + " ramp of the downtime limit from 150 ms to 1050 ms alone, and with a fixed limit of 300"
          + " ms. The first two have to arrive; the last one has to be given up in its time and a"
          + " second, and the guest has to be whole and go on. All that is written takes 1.2 s to"
          + " be sent, without deltas and compression: a ramp alone cannot be enough for much more."
          + " The exit code is 1 if one of that is not so."
    })
public final class ConvergeBenchCommand implements Callable<Integer> {

  private static final double FACTOR = 1.5;

  /** How long all that is written takes to be sent. */
  private static final double HOT_SECONDS = 1.2;

  /** How long what nobody writes takes to be sent. */
  private static final int COLD_SECONDS = 2;

  private static final Duration LIMIT = Duration.ofMillis(300);
  private static final Duration LONG = Duration.ofMinutes(2);
  private static final Duration GRACE = Duration.ofSeconds(1);

  private final Console console;

  @Option(
      names = "--rate",
      paramLabel = "RATE",
      defaultValue = "20m",
      description = "What the link carries per second (${DEFAULT-VALUE}).")
  private ByteRate rate = new ByteRate(0);

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      defaultValue = "10s",
      description = "When the migration is given up that does not converge (${DEFAULT-VALUE}).")
  private Duration timeout = Duration.ZERO;

  private boolean allWell = true;

  /** Made with what it talks to. */
  public ConvergeBenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    long link = rate.bytesPerSecond();
    if (link < 1 << 20 || link > 1 << 30) {
      throw new CliException("--rate takes 1m to 1g", ExitCode.USAGE);
    }
    long chunk = 1 << 20;
    long hot = (long) (link * HOT_SECONDS) / chunk * chunk;
    try (GuestMemory memory =
            GuestMemory.builder()
                .anonymous("hot", Math.max(chunk, hot))
                .anonymous("cold", link * COLD_SECONDS / chunk * chunk)
                .build();
        HotGuest guest = new HotGuest(memory.block(0), link * FACTOR)) {
      fill(memory.block(1));
      console
          .out()
          .printf(
              "a guest that writes %.1f MB/s all over %.1f MB, over a link of %.1f MB/s%n",
              link * FACTOR / 1e6, hot / 1e6, link / 1e6);
      arrives("auto-converge", memory, guest, AutoConverge::new);
      arrives("ramped downtime alone", memory, guest, RampedDowntime::new);
      isGivenUp(memory, guest);
    }
    return allWell ? ExitCode.OK : ExitCode.FAILED;
  }

  private static void fill(RamBlock block) {
    SplittableRandom random = new SplittableRandom(3);
    for (long at = 0; at < block.sizeBytes(); at += Long.BYTES) {
      block.segment().set(ValueLayout.JAVA_LONG, at, random.nextLong());
    }
  }

  private LoopbackRun.Result migrate(
      String name,
      GuestMemory memory,
      HotGuest guest,
      ConvergencePolicy.Maker policy,
      Duration within) {
    console.out().println(name);
    guest.resume().block();
    return LoopbackRun.of(
        memory,
        guest,
        Guest.passive(),
        spec ->
            spec.withXbzrle(null)
                .withCompression(null)
                .withMaxBandwidth(rate.bytesPerSecond())
                .withPolicy(policy)
                .withDowntimeLimit(LIMIT)
                .withMaxRounds(10_000)
                .withTimeout(within)
                .withAtLimit(AtLimit.ABORT),
        event -> {
          if (event instanceof MigrationEvent.Convergence convergence) {
            console.out().println("  " + convergence.step());
          }
        },
        console.interruption().requests());
  }

  private void arrives(
      String name, GuestMemory memory, HotGuest guest, ConvergencePolicy.Maker policy) {
    LoopbackRun.Result result = migrate(name, memory, guest, policy, LONG);
    MigrationInfo info = result.info();
    MigrationException failure = result.failure();
    well(
        failure == null,
        failure == null
            ? "arrived after %s and %d rounds, with %d ms of downtime (%s ms expected)"
                .formatted(
                    seconds(info.totalTime()),
                    info.rounds().size(),
                    info.downtime().toMillis(),
                    info.expectedDowntime() == null ? "?" : info.expectedDowntime().toMillis())
            : text(failure));
  }

  private void isGivenUp(GuestMemory memory, HotGuest guest) {
    LoopbackRun.Result result =
        migrate("neither, with " + seconds(timeout), memory, guest, LimitPolicy::new, timeout);
    MigrationException failure = result.failure();
    boolean givenUp = failure != null && failure.kind() == MigrationException.Kind.NOT_CONVERGED;
    well(
        givenUp && result.time().compareTo(timeout.plus(GRACE)) <= 0,
        "%s after %s"
            .formatted(failure == null ? "arrived" : text(failure), seconds(result.time())));
    long before = guest.writes();
    sleep();
    boolean writes = guest.writes() > before;
    guest.pause().block();
    boolean whole = guest.isWhole();
    well(
        writes && whole,
        "the source %s and %s"
            .formatted(writes ? "goes on" : "DOES NOT GO ON", whole ? "is whole" : "IS DAMAGED"));
  }

  private static String text(MigrationException failure) {
    return String.valueOf(failure.getMessage());
  }

  private static String seconds(Duration time) {
    return "%.2f s".formatted(time.toMillis() / 1e3);
  }

  private static void sleep() {
    try {
      Thread.sleep(200);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void well(boolean isSo, String what) {
    allWell &= isSo;
    console.out().printf("  %s: %s%n", isSo ? "as it should" : "NOT AS IT SHOULD", what);
  }
}
