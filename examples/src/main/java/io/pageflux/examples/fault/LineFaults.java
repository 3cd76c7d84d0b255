package io.pageflux.examples.fault;

import static io.pageflux.examples.fault.RecordName.COMMIT;
import static io.pageflux.examples.fault.RecordName.DEVICE_STATE;
import static io.pageflux.examples.fault.RecordName.DISCARD;
import static io.pageflux.examples.fault.RecordName.END;
import static io.pageflux.examples.fault.RecordName.GUEST_RUNS;
import static io.pageflux.examples.fault.RecordName.LAYOUT;
import static io.pageflux.examples.fault.RecordName.PAGES;
import static io.pageflux.examples.fault.RecordName.PAGE_HASHES;
import static io.pageflux.examples.fault.RecordName.PAGE_REQUEST;
import static io.pageflux.examples.fault.RecordName.POSTCOPY_ADVISE;
import static io.pageflux.examples.fault.RecordName.POSTCOPY_BEGIN;
import static io.pageflux.examples.fault.RecordName.POSTCOPY_COMPLETE;
import static io.pageflux.examples.fault.RecordName.POSTCOPY_END;
import static io.pageflux.examples.fault.RecordName.POSTCOPY_LISTEN;
import static io.pageflux.examples.fault.RecordName.POSTCOPY_RESUME;
import static io.pageflux.examples.fault.RecordName.PREPARED;
import static io.pageflux.examples.fault.RecordName.READY;
import static io.pageflux.examples.fault.RecordName.RESUME_POINT;
import static io.pageflux.examples.fault.RecordName.ROUND_ACK;
import static io.pageflux.examples.fault.RecordName.ROUND_BEGIN;
import static io.pageflux.examples.fault.RecordName.ROUND_END;
import static io.pageflux.examples.fault.RecordName.RUNNING;

import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.List;
import java.util.random.RandomGenerator;

/** Draws what happens to the connections of a run. */
final class LineFaults {

  /** How long the line waits for what is to happen to a process, so that it happens there. */
  private static final Duration AT_PLACE = Duration.ofMillis(150);

  private final Scenario scenario;
  private final Mode mode;
  private final RandomGenerator random;
  private final long sizeBytes;
  private final boolean atPlace;

  /**
   * @param sizeBytes of the guest's memory
   * @param atPlace whether something happens to a process at a place
   */
  LineFaults(
      Scenario scenario, Mode mode, RandomGenerator random, long sizeBytes, boolean atPlace) {
    this.scenario = scenario;
    this.mode = mode;
    this.random = random;
    this.sizeBytes = sizeBytes;
    this.atPlace = atPlace;
  }

  /** {@return what happens to each connection that something may happen to, the last at least} */
  List<FaultPlan> draw() {
    if (scenario == Scenario.HALF_OPEN) {
      return List.of(FaultPlan.HALF_OPEN);
    }
    boolean placed = scenario.isOfLine() || atPlace;
    if (mode.isPostcopy() && placed && random.nextInt(3) == 0) {
      return List.of(FaultPlan.NONE, plan(1));
    }
    if (mode == Mode.RECOVER && random.nextBoolean()) {
      return random.nextInt(3) == 0
          ? List.of(first(), FaultPlan.NONE, FaultPlan.NONE, plan(3))
          : List.of(first(), FaultPlan.NONE, plan(2));
    }
    // Whatever is to happen then happens to a migration that has come back.
    if (mode == Mode.RESUME && random.nextBoolean()) {
      return List.of(first(), plan(1));
    }
    return List.of(plan(0));
  }

  /** Ends the first of several connections, at a place of any kind. */
  private FaultPlan first() {
    return mode == Mode.RECOVER && random.nextBoolean()
        ? FaultPlan.of(Fault.NONE, Fault.cut(RUNNING.place()))
        : FaultPlan.of(Fault.cut(place(0, false)), Fault.NONE);
  }

  private FaultPlan plan(int connection) {
    boolean back = random.nextInt(3) == 0;
    Fault fault = fault(place(connection, back), back);
    return back ? FaultPlan.of(Fault.NONE, fault) : FaultPlan.of(fault, Fault.NONE);
  }

  private Place place(int connection, boolean back) {
    if (random.nextBoolean()) {
      return Place.afterBytes(bytes(back));
    }
    if (mode.isPostcopy() && connection % 2 == 1) {
      return (back ? PAGE_REQUEST : PAGES).place();
    }
    return (back ? heard(connection) : said(connection)).place();
  }

  private long bytes(boolean back) {
    return random.nextLong(back ? 250 : random.nextBoolean() ? 2_000 : sizeBytes / 2);
  }

  // The records of the hand-over come several times, for there is more to go wrong.

  private RecordName said(int connection) {
    if (mode == Mode.RECOVER && connection > 0) {
      return RecordName.oneOf(
          random, POSTCOPY_LISTEN, POSTCOPY_RESUME, PAGES, POSTCOPY_END, POSTCOPY_COMPLETE);
    }
    return mode.isPostcopy()
        ? RecordName.oneOf(
            random,
            ROUND_BEGIN,
            PAGES,
            POSTCOPY_LISTEN,
            DISCARD,
            DEVICE_STATE,
            END,
            POSTCOPY_BEGIN,
            COMMIT,
            COMMIT,
            POSTCOPY_END)
        : RecordName.oneOf(
            random,
            LAYOUT,
            ROUND_BEGIN,
            PAGES,
            ROUND_END,
            DEVICE_STATE,
            END,
            COMMIT,
            COMMIT,
            COMMIT,
            COMMIT);
  }

  private RecordName heard(int connection) {
    if (mode == Mode.RESUME && connection > 0) {
      return RecordName.oneOf(random, RESUME_POINT, ROUND_ACK, PREPARED, RUNNING);
    }
    if (mode == Mode.RECOVER && connection > 0) {
      return RecordName.oneOf(random, GUEST_RUNS, DISCARD, READY, POSTCOPY_COMPLETE);
    }
    return switch (mode) {
      case POSTCOPY, RECOVER ->
          RecordName.oneOf(
              random, READY, POSTCOPY_ADVISE, PREPARED, RUNNING, RUNNING, POSTCOPY_COMPLETE);
      case REUSE ->
          RecordName.oneOf(
              random, READY, PAGE_HASHES, PAGE_HASHES, ROUND_ACK, PREPARED, RUNNING, RUNNING);
      case PRECOPY, RESUME, CHECKPOINTS ->
          RecordName.oneOf(random, READY, ROUND_ACK, PREPARED, PREPARED, RUNNING, RUNNING, RUNNING);
    };
  }

  private Fault fault(Place place, boolean back) {
    long nanos = random.nextLong(1, 100_000_000);
    return switch (scenario) {
      case CUT -> Fault.cut(place);
      case END -> Fault.end(place);
      case FLIP -> Fault.flip(bytes(back));
      case STALL -> Fault.stall(place);
      case PAUSE_OF_THE_LINE -> Fault.stall(place, Duration.ofNanos(nanos));
      case SWALLOW -> Fault.swallow(place);
      case SLOW_LINE -> Fault.delay(place, Duration.ofNanos(1 + nanos / 50));
      case KILL_SOURCE,
          KILL_DESTINATION,
          SIGNAL_SOURCE,
          SIGNAL_DESTINATION,
          FREEZE_SOURCE,
          FREEZE_DESTINATION ->
          atPlace ? Fault.stall(place, AT_PLACE) : Fault.NONE;
      // In the middle of the hand-over, more often than by chance.
      case STOP_SOURCE, CANCEL_SOURCE, STOP_DESTINATION, CANCEL_DESTINATION ->
          random.nextBoolean()
              ? Fault.stall((back ? RUNNING : COMMIT).place(), Duration.ofNanos(nanos))
              : Fault.NONE;
      default -> Fault.NONE;
    };
  }
}
