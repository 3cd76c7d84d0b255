package io.pageflux.examples.fault;

import java.util.List;

/**
 * What came of a run.
 *
 * @param run the run
 * @param course in a few words, what happened
 * @param findings what must never be; empty if all is well
 * @param nanos how long it took
 */
record RunResult(FaultRun run, Course course, String detail, List<Finding> findings, long nanos) {

  /** Where the guest was after the attempt to which something happened. */
  enum Course {
    /** At the destination: the migration completed all the same. */
    COMPLETED,
    /** At the source, which said so. */
    KEPT,
    /** At the source, which did not know; a person looked at the destination and resumed it. */
    RESUMED_BY_A_PERSON,
    /** At the destination, of which the source did not know. */
    FOUND_THERE,
    /** Nowhere: it died with its process. */
    DIED_WITH_ITS_PROCESS,
    /** It could not be tried on this machine. */
    NOT_POSSIBLE_HERE
  }

  /** What must never be. */
  enum Kind {
    LOST,
    WRONG_PAGES,
    TWO_GUESTS,
    HANG,
    LEAK,
    /** A second attempt failed, or something was said that is not so. */
    OTHER
  }

  /** One of it. */
  record Finding(Kind kind, String what) {}

  boolean ok() {
    return findings.isEmpty();
  }
}
