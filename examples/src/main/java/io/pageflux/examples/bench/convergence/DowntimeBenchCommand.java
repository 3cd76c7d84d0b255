package io.pageflux.examples.bench.convergence;

import io.pageflux.convergence.ConvergenceLimits.AtLimit;
import io.pageflux.convergence.LimitPolicy;
import io.pageflux.convergence.SwitchOverCost;
import io.pageflux.examples.bench.convergence.DowntimeCase.Knowledge;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.kv.KvGuest;
import io.pageflux.examples.kv.KvLoad;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingSpec;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code pageflux downtime-bench}. */
@Command(
    name = "downtime-bench",
    header = "Compare the downtime that was expected with the one that it was.",
    description = {
      "Migrates stores that are written all the time over loopback with a bandwidth limit, and"
          + " prints for each what was expected just before the switch-over. The exit code is 1 if"
          + " fewer than nine of ten are within 30 %% or 20 ms of what it was."
    })
public final class DowntimeBenchCommand implements Callable<Integer> {

  private static final Duration TIMEOUT = Duration.ofSeconds(30);
  private static final double PART = 0.3;
  private static final double MILLIS = 20;
  private static final double ENOUGH = 0.9;

  private final Console console;

  @Option(
      names = "--case",
      paramLabel = "N",
      split = ",",
      description = "Which cases, from 1; several ones with commas between; else all.")
  private List<Integer> chosen = List.of();

  @Option(
      names = "--runs",
      paramLabel = "N",
      defaultValue = "1",
      description = "How often each is migrated (${DEFAULT-VALUE}).")
  private int runs;

  private int measured;
  private int met;

  /** Made with what it talks to. */
  public DowntimeBenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    List<DowntimeCase> cases = DowntimeCase.all();
    List<Integer> numbers =
        chosen.isEmpty() ? IntStream.rangeClosed(1, cases.size()).boxed().toList() : chosen;
    if (runs < 1 || numbers.stream().anyMatch(n -> n < 1 || n > cases.size())) {
      throw new CliException(
          "--case takes 1 to %d, and --runs 1 or more".formatted(cases.size()), ExitCode.USAGE);
    }
    console
        .out()
        .printf(
            "%2s %-45s %6s %6s | %8s %8s %8s %6s | %s%n",
            "", "guest", "MiB/s", "rounds", "expected", "measured", "error", "", "met");
    for (int number : numbers) {
      measure(number, cases.get(number - 1));
    }
    console.out().printf("%d of %d within %.0f %% or %.0f ms%n", met, measured, 100 * PART, MILLIS);
    return met >= ENOUGH * measured ? ExitCode.OK : ExitCode.FAILED;
  }

  private void measure(int number, DowntimeCase wanted) {
    try (GuestMemory memory =
            GuestMemory.builder().anonymous("ram", (long) wanted.size() << 20).build();
        KvGuest guest =
            KvGuest.create(
                memory.block(0), new KvLoad((long) wanted.dirtyRate() << 20, 2), number)) {
      SwitchOverCost cost =
          wanted.cost() == Knowledge.GIVEN
              ? SwitchOverCost.of(wanted.slowness())
              : SwitchOverCost.unknown();
      if (wanted.cost() == Knowledge.LEARNED) {
        migrate(wanted, memory, guest, cost);
      }
      for (int i = 0; i < runs; i++) {
        tell(number, wanted, migrate(wanted, memory, guest, cost));
      }
    }
  }

  private LoopbackRun.Result migrate(
      DowntimeCase wanted, GuestMemory memory, KvGuest guest, SwitchOverCost cost) {
    guest.resume().block();
    return LoopbackRun.of(
        memory,
        new SlowGuest(guest, wanted.pause(), Duration.ZERO),
        new SlowGuest(Guest.passive(), Duration.ZERO, wanted.load()),
        spec -> spec(wanted, spec, cost),
        event -> {},
        console.interruption().requests());
  }

  private static OutgoingSpec spec(DowntimeCase wanted, OutgoingSpec any, SwitchOverCost cost) {
    OutgoingSpec spec =
        any.withPolicy(LimitPolicy::new)
            .withDowntimeLimit(wanted.limit())
            .withTimeout(TIMEOUT)
            .withAtLimit(AtLimit.SWITCH_OVER)
            .withMaxBandwidth((long) wanted.link() << 20)
            .withSwitchOverCost(cost);
    return wanted.codecs() ? spec : spec.withXbzrle(null).withCompression(null);
  }

  private void tell(int number, DowntimeCase wanted, LoopbackRun.Result result) {
    if (result.failure() != null) {
      throw result.failure();
    }
    MigrationInfo info = result.info();
    Duration known = info.expectedDowntime();
    double expected = known == null ? Double.NaN : known.toNanos() / 1e6;
    double real = info.downtime().toNanos() / 1e6;
    double error = expected - real;
    boolean within = Math.abs(error) <= Math.max(MILLIS, PART * real);
    measured++;
    met += within ? 1 : 0;
    console
        .out()
        .printf(
            Locale.ROOT,
            "%2d %-45s %6s %6d | %8.0f %8.0f %+8.0f %+5.0f%% | %s%n",
            number,
            wanted.text(),
            wanted.link() == 0 ? "-" : Integer.toString(wanted.link()),
            info.rounds().size(),
            expected,
            real,
            error,
            100 * error / real,
            within ? "yes" : "NO");
  }
}
