package io.pageflux.examples.fault;

import java.util.ArrayList;
import java.util.List;

/**
 * What came of a run.
 *
 * @param run the run
 * @param struck whether what was to happen has happened
 * @param course where the guest was then
 * @param detail what both sides said
 * @param findings what must never be; empty if all is well
 * @param nanos how long it took
 */
record RunResult(
    FaultRun run,
    boolean struck,
    Course course,
    String detail,
    List<Finding> findings,
    long nanos) {

  /** Where the guest was after the attempt to which something happened. */
  enum Course {
    /** At the destination: the migration completed all the same. */
    COMPLETED("completed all the same"),
    /** At the source, which said so. */
    KEPT("failed, and the source went on by itself"),
    /** At the source, which did not know. */
    RESUMED_BY_A_PERSON(
        "failed in the hand-over; a person, as told, resumed the guest at the source"),
    /** At the destination, of which the source did not know. */
    FOUND_THERE("failed in the hand-over; a person, as told, found the guest at the destination"),
    /** At the destination, where a person had it go on from a checkpoint. */
    WENT_ON_FROM_CHECKPOINT(
        "died with its process, and went on at the destination from the newest checkpoint"),
    /** At the destination, which lacked pages that the source had kept. */
    FILLED_BY_HAND(
        "failed in post-copy; a person brought what the destination lacked from the source"),
    /** Nowhere. */
    DIED_WITH_ITS_PROCESS("the guest died with the process in which it was"),
    /** It could not be tried on this machine. */
    NOT_POSSIBLE_HERE("not possible on this machine");

    private final String text;

    Course(String text) {
      this.text = text;
    }

    String text() {
      return text;
    }
  }

  /** What must never be. */
  enum Kind {
    LOST("lost guests"),
    WRONG_PAGES("with wrong or lost pages"),
    TWO_GUESTS("double guests"),
    HANG("hangs"),
    LEAK("leaks"),
    /** A second attempt failed, or something was said that is not so. */
    OTHER("others");

    private final String text;

    Kind(String text) {
      this.text = text;
    }

    String text() {
      return text;
    }
  }

  /** One of it. */
  record Finding(Kind kind, String what) {}

  RunResult with(List<Finding> more) {
    List<Finding> all = new ArrayList<>(findings);
    all.addAll(more);
    return new RunResult(run, struck, course, detail, List.copyOf(all), nanos);
  }

  boolean ok() {
    return findings.isEmpty();
  }
}
