package io.pageflux.examples.fault;

/**
 * How an attempt ended at one side.
 *
 * @param how it ended
 * @param message what the side says; empty if it says nothing
 * @param runs whether the guest runs there
 */
record Ending(How how, String message, boolean runs) {

  /** How it ended. */
  enum How {
    COMPLETED,
    FAILED,
    /** The process is no more. */
    DIED,
    /** It did not end within its time. */
    HANGS
  }

  static Ending completed(boolean runs) {
    return new Ending(How.COMPLETED, "", runs);
  }

  static Ending failed(String message, boolean runs) {
    return new Ending(How.FAILED, message, runs);
  }

  static Ending died(String message) {
    return new Ending(How.DIED, message, false);
  }

  static Ending hangs(String what) {
    return new Ending(How.HANGS, what, false);
  }

  /** {@return the same, with another message} */
  Ending with(String other) {
    return new Ending(how, other, runs);
  }

  /** Whether the source knows that it does not know. */
  boolean isUncertain() {
    return message.contains("stays paused here");
  }

  /** Whether the destination knows that it does not know. */
  boolean mayRun() {
    return message.contains("it may run here");
  }

  @Override
  public String toString() {
    return how + (runs ? ", runs" : "") + (message.isEmpty() ? "" : ": " + message);
  }
}
