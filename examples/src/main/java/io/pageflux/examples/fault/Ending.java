package io.pageflux.examples.fault;

import java.time.Duration;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;

/**
 * How an attempt ended at one side.
 *
 * @param how it ended
 * @param message what the side says; empty if it says nothing
 * @param runs whether the guest runs there
 * @param agreed whether it is a source that had begun to send: from then on both sides know whether
 *     they mend a line that breaks
 */
record Ending(How how, String message, boolean runs, boolean agreed) {

  /** What a destination says of a guest that runs, but not all of whose pages are there. */
  static final String LACKS = "the guest runs here and lacks";

  /** How it ended. */
  enum How {
    COMPLETED,
    FAILED,
    /** The process is no more. */
    DIED,
    /** It did not end within its time. */
    HANGS
  }

  Ending(How how, String message, boolean runs) {
    this(how, message, runs, false);
  }

  static Ending completed(boolean runs) {
    return new Ending(How.COMPLETED, "", runs);
  }

  /** With as many connections as it took. */
  static Ending completed(boolean runs, int connections) {
    return new Ending(
        How.COMPLETED, connections == 1 ? "" : "over %d connections".formatted(connections), runs);
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

  /**
   * Waits for an end, a second longer than the migration itself may take.
   *
   * @param guestRuns whether the guest runs there, if the bench fails instead
   */
  static Ending await(Future<Ending> ending, Duration limit, BooleanSupplier guestRuns) {
    try {
      return ending.get(limit.plusSeconds(1).toMillis(), TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      return hangs("no end");
    } catch (ExecutionException e) {
      return failed("the bench failed: " + e.getCause(), guestRuns.getAsBoolean());
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return hangs("interrupted");
    }
  }

  /** {@return the same, with another message} */
  Ending with(String other) {
    return new Ending(how, other, runs, agreed);
  }

  /** {@return the same, of a source that had begun to send, or had not} */
  Ending agreed(boolean begun) {
    return new Ending(how, message, runs, begun);
  }

  /** Whether the source knows that it does not know. */
  boolean isUncertain() {
    return message.contains("stays paused here");
  }

  /** Whether the destination knows that it does not know. */
  boolean mayRun() {
    return message.contains("it may run here");
  }

  /** Whether the destination has the guest, and pages of it are only at the source. */
  boolean lacksPages() {
    return message.contains(LACKS);
  }

  /** Whether the source knows that the guest is at the destination. */
  boolean isThere() {
    return message.contains("the guest runs at the destination");
  }

  @Override
  public String toString() {
    return how + (runs ? ", runs" : "") + (message.isEmpty() ? "" : ": " + message);
  }
}
