package io.pageflux.examples.fault;

import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.List;
import java.util.SplittableRandom;

/**
 * One run of the bench, drawn from a seed and its number alone. What else decides how it goes is
 * when threads run.
 *
 * @param seed the bench's
 * @param number from 0
 * @param sides where the two sides are
 * @param scenario what happens
 * @param sizeBytes of the guest's memory
 * @param loadBytesPerSecond what the guest writes
 * @param unix whether over a Unix domain socket
 * @param xbzrle whether deltas are sent
 * @param compress whether batches are compressed
 * @param plan what happens to the connection
 * @param moment when it happens, if it is not the connection
 * @param atPlace whether what happens to a process happens when the plan's place has come, rather
 *     than after a time
 */
record FaultRun(
    long seed,
    int number,
    Sides sides,
    Scenario scenario,
    long sizeBytes,
    long loadBytesPerSecond,
    boolean unix,
    boolean xbzrle,
    boolean compress,
    FaultPlan plan,
    Duration moment,
    boolean atPlace) {

  /** Where the two sides are. */
  enum Sides {
    /** In the bench's process: so memory can be compared at the moment of the start. */
    ONE_PROCESS,
    /** In processes of their own, which serve other runs too. */
    PROCESSES
  }

  /** Of so many runs one happens to a process, which takes longer than the others. */
  static final int OF_PROCESS_EVERY = 10;

  /** The first run of checkpoints; the next one is {@link #OF_PROCESS_EVERY} later. */
  static final int FIRST_OF_CHECKPOINTS = 4;

  /** How long a side waits for the other in the attempt to which something happens. */
  static final Duration PEER_TIMEOUT = Duration.ofMillis(400);

  static final long CHUNK = 64 << 10;

  // The numbers of records in WIRE-FORMAT.md: what the source says, and what it hears. Those of the
  // hand-over come several times, for there is more to go wrong.
  private static final int[] SAID = {2, 4, 5, 6, 9, 10, 12, 12, 12, 12};
  private static final int[] HEARD = {3, 7, 11, 11, 13, 13, 13};
  private static final int COMMIT = 12;
  private static final int RUNNING = 13;

  static FaultRun of(long seed, int number) {
    SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + number);
    if (number % OF_PROCESS_EVERY == FIRST_OF_CHECKPOINTS) {
      return CheckpointPlan.run(seed, number, random);
    }
    boolean ofProcess = number % OF_PROCESS_EVERY == OF_PROCESS_EVERY - 1;
    List<Scenario> possible = Scenario.all(ofProcess ? Scenario.Of.PROCESS : Scenario.Of.LINE);
    Scenario scenario = possible.get(random.nextInt(possible.size()));
    if (scenario.isSilence() && random.nextInt(4) > 0) {
      // They are waited for, so fewer of them.
      scenario = possible.get(random.nextInt(possible.size()));
    }
    Sides sides = ofProcess || number % 2 == 0 ? Sides.PROCESSES : Sides.ONE_PROCESS;
    long size = CHUNK * random.nextInt(8, 65);
    long load = random.nextInt(4) == 0 ? 0 : (1 + random.nextLong(16)) << 20;
    boolean atPlace = ofProcess && random.nextInt(3) > 0 && scenario != Scenario.STARVE_DESTINATION;
    FaultPlan plan = plan(scenario, random, size, atPlace);
    return new FaultRun(
        seed,
        number,
        sides,
        scenario,
        size,
        load,
        random.nextBoolean(),
        random.nextBoolean(),
        random.nextBoolean(),
        plan,
        Duration.ofNanos(random.nextLong(1, ofProcess ? 120_000_000 : 60_000_000)),
        atPlace);
  }

  private static FaultPlan plan(
      Scenario scenario, SplittableRandom random, long size, boolean atPlace) {
    boolean back = random.nextInt(3) == 0;
    long bytes = random.nextLong(back ? 250 : random.nextBoolean() ? 2_000 : size / 2);
    Place place =
        random.nextBoolean()
            ? Place.afterBytes(bytes)
            : Place.beforeRecord(
                back ? HEARD[random.nextInt(HEARD.length)] : SAID[random.nextInt(SAID.length)]);
    long nanos = random.nextLong(1, 100_000_000);
    Fault fault =
        switch (scenario) {
          case CUT -> Fault.cut(place);
          case END -> Fault.end(place);
          case FLIP -> Fault.flip(bytes);
          case STALL -> Fault.stall(place);
          case PAUSE_OF_THE_LINE -> Fault.stall(place, Duration.ofNanos(nanos));
          case SWALLOW -> Fault.swallow(place);
          case SLOW_LINE -> Fault.delay(place, Duration.ofNanos(1 + nanos / 50));
          // The line waits for what is to happen, so that it happens there.
          case KILL_SOURCE,
              KILL_DESTINATION,
              SIGNAL_SOURCE,
              SIGNAL_DESTINATION,
              FREEZE_SOURCE,
              FREEZE_DESTINATION ->
              atPlace ? Fault.stall(place, Duration.ofMillis(150)) : Fault.NONE;
          case STOP_SOURCE, CANCEL_SOURCE, STOP_DESTINATION, CANCEL_DESTINATION ->
              random.nextBoolean() ? stallOf(back ? RUNNING : COMMIT, nanos) : Fault.NONE;
          default -> Fault.NONE;
        };
    if (scenario == Scenario.HALF_OPEN) {
      return FaultPlan.HALF_OPEN;
    }
    return back ? FaultPlan.of(Fault.NONE, fault) : FaultPlan.of(fault, Fault.NONE);
  }

  private static Fault stallOf(int record, long nanos) {
    return Fault.stall(Place.beforeRecord(record), Duration.ofNanos(nanos));
  }

  /** {@return the run in one line} */
  String describe() {
    return "%s, %s over %s, %d KiB, guest writes %d MiB/s%s%s; %s"
        .formatted(
            scenario,
            sides == Sides.PROCESSES ? "two processes" : "one process",
            unix ? "a unix socket" : "tcp",
            sizeBytes >> 10,
            loadBytesPerSecond >> 20,
            xbzrle ? ", xbzrle" : "",
            compress ? ", zstd" : "",
            when());
  }

  private String when() {
    if (scenario.ofCheckpoints()) {
      return CheckpointPlan.of(seed, number).describe(this);
    }
    String line = plan.equals(FaultPlan.NONE) ? "" : "line: " + plan;
    String time = "after %d us".formatted(moment.toNanos() / 1000);
    return line.isEmpty() ? time : line + (scenario.ofProcess() ? ", and then" : ", or " + time);
  }
}
