package io.pageflux.examples.fault;

import io.pageflux.examples.fault.RunResult.Finding;
import io.pageflux.examples.fault.RunResult.Kind;
import java.util.ArrayList;
import java.util.List;

/** Does runs, one after the other, and judges each. */
final class FaultBench implements AutoCloseable {

  private final long seed;
  private final boolean sabotage;
  private final PartyPool pool = new PartyPool();

  /**
   * @param sabotage whether to damage a page in each run in one process, so that there is something
   *     to find
   */
  FaultBench(long seed, boolean sabotage) {
    this.seed = seed;
    this.sabotage = sabotage;
  }

  /** Does a run. {@return what came of it} */
  RunResult run(int number) {
    return run(FaultRun.of(seed, number));
  }

  /** Does a run. {@return what came of it} In processes it is drawn once more. */
  RunResult run(FaultRun run) {
    Leaks leaks = new Leaks(true);
    List<Finding> more = new ArrayList<>();
    RunResult result;
    try (RunFolder folder = RunFolder.make()) {
      result = judge(run, folder);
      List<String> left =
          folder.left(run.scenario().endsDestination() || run.scenario().endsSource());
      if (!left.isEmpty()) {
        more.add(new Finding(Kind.LEAK, "files are left: " + left));
      }
    }
    String left = leaks.find();
    if (!left.isEmpty()) {
      more.add(new Finding(Kind.LEAK, "in the bench's process: " + left));
    }
    return result.with(more);
  }

  private RunResult judge(FaultRun run, RunFolder folder) {
    if (run.sides() == FaultRun.Sides.ONE_PROCESS) {
      return new RunJudge(run, new LocalSides(run, folder, sabotage)).judge();
    }
    try (ProcessSides sides = new ProcessSides(run, folder, pool)) {
      return run.scenario().ofCheckpoints()
          ? new CheckpointJudge(run, sides, folder).judge()
          : new RunJudge(run, sides).judge();
    }
  }

  /** {@return how many processes were used so far} */
  int processes() {
    return pool.started();
  }

  @Override
  public void close() {
    pool.close();
  }
}
