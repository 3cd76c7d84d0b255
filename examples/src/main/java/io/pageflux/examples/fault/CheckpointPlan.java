package io.pageflux.examples.fault;

import io.pageflux.transport.fault.Fault;
import io.pageflux.transport.fault.FaultPlan;
import io.pageflux.transport.fault.Place;
import java.time.Duration;
import java.util.List;
import java.util.SplittableRandom;

/**
 * What a run of checkpoints has beside what every run has. Drawn from the bench's seed and the
 * run's number alone.
 *
 * @param interval from one checkpoint to the next
 * @param slabs batches that the source's staging area holds; if they are few, pages are sent while
 *     the guest is paused
 * @param checkpoints how many are taken if nothing keeps the source from it
 * @param bytesPerSecond what the line carries; 0 for all there is
 * @param strike when a source is killed
 * @param strikeAt which of these moments, from 1
 * @param lingering whether the source stands still there; if not, it may be a little further
 */
record CheckpointPlan(
    Duration interval,
    int slabs,
    int checkpoints,
    long bytesPerSecond,
    Strike strike,
    int strikeAt,
    boolean lingering) {

  /** When a source is killed. */
  enum Strike {
    /** After a time. */
    TIME,
    /** At a place of the line. */
    LINE,
    /** The guest is about to be paused: the scan and the copy come next. */
    PAUSE,
    /** The guest is paused and what fits has been copied; its state is about to be read. */
    STATE,
    /** The guest is about to go on. */
    RESUME,
    /** The guest has gone on, and a part of the checkpoint has been sent, or all of it. */
    SENDING
  }

  /** So long the source stands still where it is killed, less than the other side waits. */
  static final Duration LINGERING = Duration.ofMillis(150);

  private static final long MOST_SENDING_NANOS = 20_000_000;
  private static final long SALT = 0xC8EC4B01D7L;

  // The numbers of records in WIRE-FORMAT.md.
  private static final int[] SAID = {2, 4, 5, 5, 6, 9, 9, 10, 10, 10};
  private static final int[] HEARD = {3, 7, 11, 11, 11};

  static CheckpointPlan of(long seed, int number) {
    SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + number + SALT);
    Strike[] strikes = Strike.values();
    Strike strike = strikes[random.nextInt(strikes.length)];
    long rate = random.nextLong(8, 65) << 20;
    int checkpoints = random.nextInt(2, 8);
    return new CheckpointPlan(
        Duration.ofMillis(random.nextLong(5, 40)),
        random.nextInt(3) == 0 ? random.nextInt(2, 5) : 80,
        checkpoints,
        // Else a checkpoint has been sent before anything can happen to it.
        random.nextBoolean() && strike != Strike.SENDING ? 0 : rate,
        strike,
        random.nextInt(1, checkpoints + 1),
        random.nextBoolean());
  }

  /** Draws a run of checkpoints. */
  static FaultRun run(long seed, int number, SplittableRandom random) {
    CheckpointPlan drawn = of(seed, number);
    List<Scenario> possible = Scenario.all(Scenario.Of.CHECKPOINTS);
    Scenario scenario =
        random.nextBoolean()
            ? Scenario.CHECKPOINTS_KILL_SOURCE
            : possible.get(random.nextInt(possible.size()));
    long size = FaultRun.CHUNK * random.nextInt(8, 65);
    return new FaultRun(
        seed,
        number,
        FaultRun.Sides.PROCESSES,
        Mode.CHECKPOINTS,
        scenario,
        size,
        (1 + random.nextLong(32)) << 20,
        random.nextBoolean(),
        random.nextBoolean(),
        random.nextBoolean(),
        List.of(line(scenario, drawn, random, size)),
        false,
        Duration.ofNanos(random.nextLong(1, 400_000_000)),
        drawn.strike != Strike.TIME);
  }

  private static FaultPlan line(
      Scenario scenario, CheckpointPlan drawn, SplittableRandom random, long size) {
    boolean back = random.nextInt(3) == 0;
    long bytes = random.nextLong(back ? 300 : 2 * size);
    Place place =
        switch (random.nextInt(3)) {
          case 0 -> Place.afterBytes(bytes);
          // Of the first copy there is about one record for each chunk.
          case 1 ->
              Place.afterRecords(
                  back ? random.nextLong(1, 8) : size / FaultRun.CHUNK + random.nextLong(-5, 60));
          default ->
              Place.beforeRecord(
                  back ? HEARD[random.nextInt(HEARD.length)] : SAID[random.nextInt(SAID.length)]);
        };
    Fault fault =
        switch (scenario) {
          case CHECKPOINTS_KILL_SOURCE ->
              drawn.strike == Strike.LINE ? Fault.stall(place, LINGERING) : Fault.NONE;
          case CHECKPOINTS_CUT -> Fault.cut(place);
          case CHECKPOINTS_END -> Fault.end(place);
          case CHECKPOINTS_FLIP -> Fault.flip(bytes);
          case CHECKPOINTS_STALL -> Fault.stall(place);
          case CHECKPOINTS_PAUSE_OF_THE_LINE ->
              Fault.stall(place, Duration.ofNanos(random.nextLong(1, 100_000_000)));
          case CHECKPOINTS_SWALLOW -> Fault.swallow(place);
          default -> Fault.NONE;
        };
    return back ? FaultPlan.of(Fault.NONE, fault) : FaultPlan.of(fault, Fault.NONE);
  }

  /**
   * {@return how long a side waits for the other} No longer than it has to where it does so in
   * vain.
   */
  static Duration patience(FaultRun run, boolean faulty) {
    return faulty && run.scenario().isSilence() ? FaultRun.PEER_TIMEOUT : Duration.ofSeconds(15);
  }

  /** {@return this in one line} */
  String describe(FaultRun run) {
    return "%d checkpoints %d ms apart, %d batches staged%s; %s"
        .formatted(
            checkpoints,
            interval.toMillis(),
            slabs,
            bytesPerSecond == 0 ? "" : ", %d MiB/s".formatted(bytesPerSecond >> 20),
            when(run));
  }

  /** {@return how long a checkpoint has been sent when its source is killed} */
  static Duration sendingFor(Duration moment) {
    return Duration.ofNanos(moment.toNanos() % MOST_SENDING_NANOS);
  }

  private String when(FaultRun run) {
    String line = run.plan(0).equals(FaultPlan.NONE) ? "" : "line: " + run.plan(0);
    String time = "after %d us".formatted(run.moment().toNanos() / 1000);
    return switch (run.scenario()) {
      case CHECKPOINTS_KILL_SOURCE ->
          switch (strike) {
            case TIME -> time;
            case LINE -> line;
            case SENDING ->
                "%d us after checkpoint %d"
                    .formatted(sendingFor(run.moment()).toNanos() / 1000, strikeAt);
            default ->
                "at %s %d%s"
                    .formatted(
                        FaultBenchCommand.name(strike), strikeAt, lingering ? "" : " or later");
          };
      case CHECKPOINTS_CANCEL_SOURCE -> time;
      default -> line;
    };
  }
}
