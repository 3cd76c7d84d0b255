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
      checkWhatWasPossible(attempt);
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
    Ending out = attempt.out();
    Ending in = attempt.in();
    detail = "source: %s; destination: %s".formatted(out, in);
    for (Ending ending : List.of(out, in)) {
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
    if (out.runs() && in.runs()) {
      find(Kind.TWO_GUESTS, detail);
    }
    if (out.how() == Ending.How.DIED && !run.scenario().endsSource()
        || in.how() == Ending.How.DIED && !run.scenario().endsDestination()) {
      find(Kind.OTHER, "a process died, and nobody killed it: " + detail);
    }
    LastWords.of(out, in)
        .contradictions()
        .forEach((what, kind) -> find(kind, what + ": " + detail));
  }

  /** What must not be of an attempt of which no more is wrong than the run says. */
  private void checkWhatWasPossible(Attempt attempt) {
    Ending out = attempt.out();
    Ending in = attempt.in();
    if (out.how() == Ending.How.COMPLETED && in.how() == Ending.How.COMPLETED) {
      return;
    }
    if (!sides.struck() && run.hasWholeLines()) {
      find(Kind.OTHER, "it failed, though nothing had happened: " + detail);
    } else if (run.mode().mends() && run.scenario().isMendable() && out.agreed()) {
      // In pre-copy, nobody comes back once the guest was given up.
      boolean isOver = !run.mode().isPostcopy() && LastWords.of(out, in).isGivenUp();
      if (!isOver) {
        find(Kind.OTHER, "a line was lost, and no other one took its place: " + detail);
      }
    }
  }

  /**
   * Looks where the guest is, and has a person do what HAND-OVER.md says. {@return whether the
   * guest has left the source for good}
   */
  private boolean isAt(Side.Destination destination, Side.Source source, Attempt attempt) {
    Ending out = attempt.out();
    LastWords words = LastWords.of(out, attempt.in());
    switch (words.destination()) {
      case RUNS -> {
        if (attempt.in().lacksPages()) {
          lacking(destination, source, attempt);
        } else {
          course = out.how() == Ending.How.COMPLETED ? Course.COMPLETED : Course.FOUND_THERE;
          verify(destination, "at the destination");
        }
        return true;
      }
      case UNCERTAIN -> {
        course = Course.FOUND_THERE;
        return true;
      }
      default -> {}
    }
    return switch (words.source()) {
      case TAKEN -> {
        course = Course.DIED_WITH_ITS_PROCESS;
        yield true;
      }
      case DIED -> {
        course = Course.DIED_WITH_ITS_PROCESS;
        yield false; // with another guest
      }
      case UNCERTAIN -> {
        // The destination's migration has ended without it.
        source.resume();
        course = Course.RESUMED_BY_A_PERSON;
        verify(source, "at the source");
        yield false;
      }
      default -> {
        course = Course.KEPT;
        verify(source, "at the source");
        yield false;
      }
    };
  }

  /** The guest runs at the destination, and what it lacks must be at the source. */
  private void lacking(Side.Destination destination, Side.Source source, Attempt attempt) {
    course = Course.FILLED_BY_HAND;
    if (!run.mode().isPostcopy()) {
      find(Kind.LOST, "it runs without all of its pages, which nobody has agreed on: " + detail);
    }
    if (attempt.out().how() == Ending.How.COMPLETED) {
      find(Kind.LOST, "the source has let go of pages that are not there: " + detail);
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
        find(
            problem.startsWith(WatchedGuest.HANGS) ? Kind.HANG : Kind.WRONG_PAGES,
            "%s: %s; %s".formatted(where, problem, detail));
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
