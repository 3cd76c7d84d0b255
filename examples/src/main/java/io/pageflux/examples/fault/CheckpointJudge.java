package io.pageflux.examples.fault;

import io.pageflux.examples.fault.RunResult.Course;
import io.pageflux.examples.fault.RunResult.Finding;
import io.pageflux.examples.fault.RunResult.Kind;
import java.util.ArrayList;
import java.util.List;

/**
 * One run of checkpoints: a session to which something happens, a look at what the destination has
 * then, and another session if there is still a source, or nothing from which to go on.
 *
 * <p>Whatever happens, the destination's memory has to be that of exactly one checkpoint: the
 * newest one that was acknowledged, or a later one.
 */
final class CheckpointJudge {

  private final FaultRun run;
  private final RunJudge.Sides sides;
  private final RunFolder folder;
  private final List<Finding> findings = new ArrayList<>();
  private Course course = Course.COMPLETED;
  private String detail = "";

  CheckpointJudge(FaultRun run, RunJudge.Sides sides, RunFolder folder) {
    this.run = run;
    this.sides = sides;
    this.folder = folder;
  }

  RunResult judge() {
    long began = System.nanoTime();
    try {
      judge(sides.source(), sides.destination());
    } catch (RuntimeException e) {
      find(Kind.OTHER, "the bench failed: " + e);
    }
    return new RunResult(
        run, sides.struck(), course, detail, List.copyOf(findings), System.nanoTime() - began);
  }

  private void judge(Side.Source first, Side.Destination destination) {
    Side.Source source = first;
    try {
      String address = destination.listen(true);
      sides.disturb(source, destination);
      Ending out = source.attempt(address, true);
      sides.calm(source, destination);
      destination.stopIfNobodyCame();
      Ending in = destination.await();
      boolean holds = check(out, in);
      if (source.isAlive()) {
        course = out.how() == Ending.How.COMPLETED ? Course.COMPLETED : Course.KEPT;
        verify(source, "at the source");
        again(source, destination);
      } else if (holds) {
        course = Course.WENT_ON_FROM_CHECKPOINT;
        takeOver(destination);
      } else {
        course = Course.DIED_WITH_ITS_PROCESS;
        source = sides.source(); // another guest
        again(source, destination);
      }
    } finally {
      String left = source.end() + destination.end();
      if (!left.isEmpty()) {
        find(Kind.LEAK, left + "; " + detail);
      }
    }
  }

  private void find(Kind kind, String what) {
    findings.add(new Finding(kind, what));
  }

  /** {@return whether the destination holds a checkpoint} */
  private boolean check(Ending out, Ending in) {
    detail = "source: %s; destination: %s".formatted(out, in);
    for (Ending ending : List.of(out, in)) {
      if (ending.how() == Ending.How.HANGS) {
        find(Kind.HANG, detail);
      }
    }
    if (in.how() == Ending.How.DIED
        || out.how() == Ending.How.DIED && !run.scenario().endsSource()) {
      find(Kind.OTHER, "a process died, and nobody killed it: " + detail);
    }
    if (out.how() != Ending.How.DIED && !out.runs()) {
      find(Kind.LOST, "it does not run at the source: " + detail);
    }
    if (in.runs()) {
      find(Kind.TWO_GUESTS, "nobody has started it at the destination: " + detail);
    }
    CheckpointNotes notes = CheckpointNotes.read(folder.path());
    HeldText held = HeldText.of(in.message());
    if (held == null) {
      if (notes.acknowledged() > 0) {
        find(
            Kind.LOST,
            "checkpoint %d was acknowledged, and none is held: %s"
                .formatted(notes.acknowledged(), detail));
      }
      return false;
    }
    if (held.number() < notes.acknowledged()) {
      find(Kind.LOST, "checkpoint %d was acknowledged: %s".formatted(notes.acknowledged(), detail));
    }
    if (!held.digest().equals(notes.digests().get(held.number()))) {
      find(Kind.WRONG_PAGES, "its memory was %s: %s".formatted(notes.digests(), detail));
    }
    return true;
  }

  private void takeOver(Side.Destination destination) {
    String problem = destination.takeOver();
    if (!problem.isEmpty()) {
      find(Kind.LOST, "it does not go on from the checkpoint: %s; %s".formatted(problem, detail));
    }
    verify(destination, "at the destination");
  }

  private void verify(Side side, String where) {
    String problem = side.verify();
    if (!problem.isEmpty()) {
      find(Kind.WRONG_PAGES, "%s: %s; %s".formatted(where, problem, detail));
    }
  }

  private void again(Side.Source source, Side.Destination destination) {
    String before = detail;
    Ending out = source.attempt(destination.listen(false), false);
    destination.stopIfNobodyCame();
    Ending in = destination.await();
    if (!check(out, in) || out.how() != Ending.How.COMPLETED) {
      find(Kind.OTHER, "a second attempt failed: %s; after: %s".formatted(detail, before));
    }
    detail = before;
  }
}
