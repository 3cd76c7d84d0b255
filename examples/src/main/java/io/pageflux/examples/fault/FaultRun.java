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
 * @param scenario what happens
 * @param sizeBytes of the guest's memory
 * @param loadBytesPerSecond what the guest writes
 * @param unix whether over a Unix domain socket
 * @param xbzrle whether deltas are sent
 * @param compress whether batches are compressed
 * @param plan what happens to the connection
 * @param moment when it happens, if it is not the connection
 */
record FaultRun(
    long seed,
    int number,
    Scenario scenario,
    long sizeBytes,
    long loadBytesPerSecond,
    boolean unix,
    boolean xbzrle,
    boolean compress,
    FaultPlan plan,
    Duration moment) {

  /** Each so many runs one has processes. */
  static final int PROCESSES_EVERY = 10;

  /** How long a side waits for the other in the attempt to which something happens. */
  static final Duration PEER_TIMEOUT = Duration.ofMillis(600);

  private static final long CHUNK = 64 << 10;

  // The numbers of records in WIRE-FORMAT.md: what the source says, and what it hears.
  private static final int[] SAID = {2, 4, 5, 6, 9, 10, 12};
  private static final int[] HEARD = {3, 7, 11, 13};
  private static final int COMMIT = 12;
  private static final int RUNNING = 13;

  static FaultRun of(long seed, int number) {
    SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + number);
    boolean processes = number % PROCESSES_EVERY == PROCESSES_EVERY - 1;
    List<Scenario> possible = Scenario.all(processes);
    Scenario scenario = possible.get(random.nextInt(possible.size()));
    long size = CHUNK * random.nextInt(8, 65);
    long load = random.nextInt(4) == 0 ? 0 : (1 + random.nextLong(16)) << 20;
    FaultPlan plan = plan(scenario, random, size);
    return new FaultRun(
        seed,
        number,
        scenario,
        size,
        load,
        random.nextBoolean(),
        random.nextBoolean(),
        random.nextBoolean(),
        plan,
        Duration.ofNanos(random.nextLong(processes ? 400_000_000 : 150_000_000)));
  }

  private static FaultPlan plan(Scenario scenario, SplittableRandom random, long size) {
    boolean back = random.nextInt(3) == 0;
    Place place =
        random.nextBoolean()
            ? Place.afterBytes(random.nextLong(back ? 300 : size))
            : Place.beforeRecord(
                back ? HEARD[random.nextInt(HEARD.length)] : SAID[random.nextInt(SAID.length)]);
    long nanos = random.nextLong(1, 100_000_000);
    Fault fault =
        switch (scenario) {
          case CUT -> Fault.cut(place);
          case END -> Fault.end(place);
          case FLIP -> Fault.flip(random.nextLong(back ? 300 : size));
          case STALL -> Fault.stall(place);
          case PAUSE_OF_THE_LINE -> Fault.stall(place, Duration.ofNanos(nanos));
          case SWALLOW -> Fault.swallow(place);
          case SLOW_LINE -> Fault.delay(place, Duration.ofNanos(1 + nanos / 50));
          // So that what happens to a process happens in the hand-over as often as before it.
          case KILL_SOURCE, KILL_DESTINATION, FREEZE_SOURCE, FREEZE_DESTINATION ->
              switch (random.nextInt(3)) {
                case 0 -> stallOf(back ? RUNNING : COMMIT, nanos);
                case 1 -> Fault.delay(Place.START, Duration.ofNanos(1 + nanos / 20));
                default -> Fault.NONE;
              };
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
    boolean faulty = !plan.equals(FaultPlan.NONE);
    return "%s, %s, %d KiB, guest writes %d MiB/s%s%s%s"
        .formatted(
            scenario,
            unix ? "unix socket" : "tcp",
            sizeBytes >> 10,
            loadBytesPerSecond >> 20,
            xbzrle ? ", xbzrle" : "",
            compress ? ", zstd" : "",
            faulty ? "; line: " + plan : "; after %d us".formatted(moment.toNanos() / 1000));
  }
}
