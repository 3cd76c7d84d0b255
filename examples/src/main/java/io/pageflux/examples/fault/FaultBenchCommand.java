package io.pageflux.examples.fault;

import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.fault.RunResult.Finding;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code pageflux fault-bench}. */
@Command(
    name = "fault-bench",
    header = "Migrate guests while things go wrong, and check that none is lost, wrong or doubled.",
    description = {
      "Each run migrates a guest that writes its memory, over a real socket: in rounds, over one"
          + " connection or as many as it takes; to a destination that has an older copy; or in"
          + " post-copy, which goes on with other connections or does not. And something happens: a line is cut, ends, stalls, falls silent, is slow"
          + " or flips a bit, at a random byte or record; somebody cancels; a guest does not do"
          + " what it is told; a process is killed (kill -9), stopped (TERM) or frozen (STOP), has"
          + " no memory or a full disk.",
      "Of ten runs one is of checkpoints: their source is killed, or their line is cut, ends,"
          + " stalls, falls silent or flips a bit, and what is in the destination's memory then is"
          + " compared with what the source has noted of each checkpoint.",
      "Then every page is checked, that the guest runs once and where both sides say that it may,"
          + " that a line which both sides mend was mended, that nothing is left, and that a second attempt succeeds; or, if the guest was gone"
          + " before its pages, that what it lacks is still at the source. Half of the runs happen"
          + " in two processes, which serve run after run until they are killed; in the others both"
          + " sides are in this process, so that memory is compared when the guest starts.",
      "The same seed makes the same runs; when threads run is the machine's affair. The exit code"
          + " is 1 if anything was found."
    })
public final class FaultBenchCommand implements Callable<Integer> {

  private final Console console;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "What the runs are drawn from (one that is shown).")
  private @Nullable Long seed;

  @Option(
      names = "--runs",
      paramLabel = "N",
      defaultValue = "1000",
      description = "How many (${DEFAULT-VALUE}).")
  private int runs;

  @Option(
      names = "--replay",
      paramLabel = "I",
      description = "Do run I only, --runs times if given, and show each.")
  private @Nullable Integer replay;

  @Option(
      names = "--checkpoints",
      description = "Do the runs of checkpoints only, of which there is one in ten.")
  private boolean checkpoints;

  @Option(names = "--each", description = "Show each run, not only those that found something.")
  private boolean each;

  @Option(names = "--sabotage", hidden = true)
  private boolean sabotage;

  /** Made with what it talks to. */
  public FaultBenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    if (runs < 1 || replay != null && replay < 0) {
      throw new CliException("--runs is at least 1, and --replay at least 0", ExitCode.USAGE);
    }
    long drawn = seed == null ? ThreadLocalRandom.current().nextLong(1_000_000) : seed;
    console.out().println("seed " + drawn);
    List<RunResult> results = new ArrayList<>();
    long began = System.nanoTime();
    int processes;
    try (FaultBench bench = new FaultBench(drawn, sabotage)) {
      int count = replay != null && runs == 1000 ? 1 : runs;
      for (int i = 0; i < count; i++) {
        RunResult result = bench.run(replay == null ? number(i) : replay);
        if (console.interruption().requested()) {
          break; // The processes may have been interrupted with this one.
        }
        results.add(result);
        show(result);
      }
      processes = bench.processes();
    }
    new FaultSummary(results, processes, System.nanoTime() - began)
        .lines()
        .forEach(console.out()::println);
    boolean ok = results.stream().allMatch(RunResult::ok);
    return console.interruption().requested()
        ? ExitCode.INTERRUPTED
        : ok ? ExitCode.OK : ExitCode.FAILED;
  }

  private int number(int i) {
    return checkpoints ? i * FaultRun.OF_PROCESS_EVERY + FaultRun.FIRST_OF_CHECKPOINTS : i;
  }

  private void show(RunResult result) {
    if (result.ok() && !each && replay == null) {
      return;
    }
    FaultRun run = result.run();
    String what = "run %d (%s)".formatted(run.number(), run.describe());
    for (Finding finding : result.findings()) {
      console.out().println("%s: %s: %s".formatted(name(finding.kind()), what, finding.what()));
    }
    if (result.ok()) {
      console
          .out()
          .println(
              "ok: %s: %s%s, %d ms; %s"
                  .formatted(
                      what,
                      result.struck() ? "" : "nothing happened, ",
                      name(result.course()),
                      result.nanos() / 1_000_000,
                      result.detail()));
    } else {
      console
          .out()
          .println(
              "    again: pageflux fault-bench --seed %d --replay %d"
                  .formatted(run.seed(), run.number()));
    }
  }

  static String name(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', ' ');
  }
}
