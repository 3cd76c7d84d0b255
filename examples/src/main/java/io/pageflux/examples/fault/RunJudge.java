package io.pageflux.examples.fault;

import io.pageflux.examples.fault.RunResult.Course;
import io.pageflux.examples.fault.RunResult.Finding;
import io.pageflux.examples.fault.RunResult.Kind;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * One run: an attempt to which something happens, a look at what became of the guest, and, if it is
 * still at the source, an attempt to which nothing does.
 */
final class RunJudge {

  /** Makes the sides of a run. */
  interface Sides {
    Side.Source source();

    Side.Destination destination();

    /** Has what is to happen to a side happen, now that the source is about to connect. */
    void disturb(Side.Source source, Side.Destination destination);

    /** Undoes what would disturb a second attempt. */
    void calm(Side.Source source, Side.Destination destination);

    /** {@return whether what was to happen has happened} */
    boolean struck();

    /** {@return where what is brought from one side to the other may lie} */
    Path folder();
  }

  private final FaultRun run;
  private final Sides sides;
  private final List<Finding> findings = new ArrayList<>();
  private Course course = Course.COMPLETED;
  private String detail = "";

  RunJudge(FaultRun run, Sides sides) {
    this.run = run;
    this.sides = sides;
  }

  RunResult judge() {
    long began = System.nanoTime();
    try {
      judge(sides.source(), sides.destination());
    } catch (ProcessSides.NotPossibleHere e) {
      course = Course.NOT_POSSIBLE_HERE;
      detail = String.valueOf(e.getMessage());
    } catch (RuntimeException e) {
      find(Kind.OTHER, "the bench failed: " + e);
    }
    return new RunResult(
        run, sides.struck(), course, detail, List.copyOf(findings), System.nanoTime() - began);
  }

  private void judge(Side.Source first, Side.Destination firstThere) {
    Side.Source source = first;
    Side.Destination destination = firstThere;
    try {
      Attempt attempt = attempt(source, destination, true);
      sides.calm(source, destination);
      check(attempt);
      if (!isAt(destination, source, attempt)) {
        if (!source.isAlive()) {
          source = sides.source(); // another guest
        }
        if (!destination.isAlive()) {
          destination = sides.destination();
        }
        again(source, destination);
      }
    } finally {
      String left = source.end() + destination.end();
      if (!left.isEmpty()) {
        find(Kind.LEAK, left + "; " + detail);
      }
    }
  }

  /** How both ended. */
  private record Attempt(Ending out, Ending in) {}

  private Attempt attempt(Side.Source source, Side.Destination destination, boolean faulty) {
    String address = destination.listen(faulty);
    if (faulty) {
      sides.disturb(source, destination);
    }
    Ending out = source.attempt(address, faulty);
    destination.stopIfNobodyCame();
    Ending in = destination.await();
    return new Attempt(out, in);
  }

  private void find(Kind kind, String what) {
    findings.add(new Finding(kind, what));
  }

  /** What must not be, however it ended. */
  private void check(Attempt attempt) {
    detail = "source: %s; destination: %s".formatted(attempt.out(), attempt.in());
    for (Ending ending : List.of(attempt.out(), attempt.in())) {
      if (ending.how() == Ending.How.HANGS) {
        find(Kind.HANG, detail);
      }
      if (ending.message().contains(RunLock.TWICE)) {
        find(Kind.TWO_GUESTS, detail);
      }
      if (ending.message().contains("not released")) {
        find(Kind.LEAK, detail);
      }
      if (ending.message().contains("wrong pages")) {
        find(Kind.WRONG_PAGES, detail);
      }
    }
    if (attempt.out().runs() && attempt.in().runs()) {
      find(Kind.TWO_GUESTS, detail);
    }
    if (attempt.out().how() == Ending.How.DIED && !run.scenario().endsSource()
        || attempt.in().how() == Ending.How.DIED && !run.scenario().endsDestination()) {
      find(Kind.OTHER, "a process died, and nobody killed it: " + detail);
    }
  }

  /** {@return whether the guest has left the source for good} */
  private boolean isAt(Side.Destination destination, Side.Source source, Attempt attempt) {
    Ending out = attempt.out();
    Ending in = attempt.in();
    if (in.lacksPages()) {
      lacking(destination, source, attempt);
      return true;
    }
    if (in.how() == Ending.How.COMPLETED) {
      if (out.how() == Ending.How.FAILED && !out.mayBeThere()) {
        find(Kind.TWO_GUESTS, "the source says that it keeps the guest: " + detail);
      }
      course = out.how() == Ending.How.COMPLETED ? Course.COMPLETED : Course.FOUND_THERE;
      verify(destination, "at the destination");
      return true;
    }
    if (out.how() == Ending.How.COMPLETED) {
      if (in.how() != Ending.How.DIED) {
        find(Kind.LOST, "it has left the source and is not at the destination: " + detail);
      }
      course = Course.DIED_WITH_ITS_PROCESS;
      return true;
    }
    if (out.how() == Ending.How.DIED) {
      course = Course.DIED_WITH_ITS_PROCESS;
      return false; // with another guest
    }
    if (run.mode() == Mode.POSTCOPY && out.isThere() && in.how() == Ending.How.DIED) {
      course = Course.DIED_WITH_ITS_PROCESS;
      return true;
    }
    if (out.isUncertain()) {
      if (in.mayRun()) {
        course = Course.FOUND_THERE;
        return true;
      }
      // The rule of HAND-OVER.md: the destination's migration has ended without it.
      source.resume();
      course = Course.RESUMED_BY_A_PERSON;
    } else {
      course = Course.KEPT;
      if (!out.runs()) {
        find(Kind.LOST, "it does not run at the source: " + detail);
      }
    }
    verify(source, "at the source");
    return false;
  }

  /** The guest runs at the destination, and what it lacks must be at the source. */
  private void lacking(Side.Destination destination, Side.Source source, Attempt attempt) {
    Ending out = attempt.out();
    course = Course.FILLED_BY_HAND;
    if (!attempt.in().runs()) {
      find(Kind.LOST, "it is said to run at the destination, and does not: " + detail);
    }
    if (out.how() == Ending.How.COMPLETED) {
      find(Kind.LOST, "the source has let go of pages that are not there: " + detail);
    }
    if (out.how() == Ending.How.FAILED && !out.mayBeThere()) {
      find(Kind.TWO_GUESTS, "the source says that it keeps the guest: " + detail);
    }
    if (!source.isAlive() || !destination.isAlive()) {
      course = Course.DIED_WITH_ITS_PROCESS;
      return;
    }
    Path kept = sides.folder().resolve("kept");
    source.keep(kept);
    destination.fill(kept);
    delete(kept);
    verify(destination, "at the destination, which got what it lacked");
  }

  private static void delete(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void verify(Side side, String where) {
    if (side.isAlive()) {
      String problem = side.verify();
      if (!problem.isEmpty()) {
        find(Kind.WRONG_PAGES, "%s: %s; %s".formatted(where, problem, detail));
      }
    }
  }

  private void again(Side.Source source, Side.Destination destination) {
    String before = detail;
    Attempt second = attempt(source, destination, false);
    check(second);
    if (second.out().how() != Ending.How.COMPLETED || second.in().how() != Ending.How.COMPLETED) {
      find(Kind.OTHER, "a second attempt failed: %s; after: %s".formatted(detail, before));
    } else {
      verify(destination, "at the destination, after a second attempt");
    }
    detail = before;
  }
}
