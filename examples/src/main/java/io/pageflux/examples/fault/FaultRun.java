package io.pageflux.examples.fault;

import io.pageflux.transport.fault.FaultPlan;
import java.time.Duration;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * One run of the bench, drawn from a seed and its number alone. What else decides how it goes is
 * when threads run.
 *
 * @param seed the bench's
 * @param number from 0
 * @param sides where the two sides are
 * @param mode how the guest migrates
 * @param scenario what happens
 * @param sizeBytes of the guest's memory
 * @param loadBytesPerSecond what the guest writes
 * @param unix whether over a Unix domain socket
 * @param xbzrle whether deltas are sent
 * @param compress whether batches are compressed
 * @param plans what happens to the connections, in the order in which they are made; nothing to
 *     more of them
 * @param reordered whether the destination gets connections in another order
 * @param moment when it happens, if not to a connection
 * @param atPlace whether what happens to a process happens when the place of the last plan has
 *     come, rather than after a time
 */
record FaultRun(
    long seed,
    int number,
    Sides sides,
    Mode mode,
    Scenario scenario,
    long sizeBytes,
    long loadBytesPerSecond,
    boolean unix,
    boolean xbzrle,
    boolean compress,
    List<FaultPlan> plans,
    boolean reordered,
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

  /** How long a side waits for the other where one waits in vain. */
  static final Duration PEER_TIMEOUT = Duration.ofMillis(1500);

  /** How long it does otherwise: nobody is so slow. */
  private static final Duration PATIENCE = Duration.ofSeconds(15);

  static final long CHUNK = 64 << 10;

  static FaultRun of(long seed, int number) {
    SplittableRandom random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + number);
    if (number % OF_PROCESS_EVERY == FIRST_OF_CHECKPOINTS) {
      return CheckpointPlan.run(seed, number, random);
    }
    boolean ofProcess = number % OF_PROCESS_EVERY == OF_PROCESS_EVERY - 1;
    Mode mode = Mode.MIGRATIONS.get(random.nextInt(Mode.MIGRATIONS.size()));
    List<Scenario> possible = Scenario.all(ofProcess ? Scenario.Of.PROCESS : Scenario.Of.LINE);
    Scenario scenario = possible.get(random.nextInt(possible.size()));
    if (scenario.isSilence() && random.nextInt(4) > 0) {
      // They are waited for, so fewer of them.
      scenario = possible.get(random.nextInt(possible.size()));
    }
    Sides sides = ofProcess || number % 2 == 0 ? Sides.PROCESSES : Sides.ONE_PROCESS;
    long size = CHUNK * random.nextInt(8, 65);
    long load = random.nextInt(4) == 0 ? 0 : (1 + random.nextLong(16)) << 20;
    boolean atPlace =
        ofProcess
            && random.nextInt(3) > 0
            && scenario != Scenario.STARVE_DESTINATION
            && scenario != Scenario.FULL_DISK;
    return new FaultRun(
        seed,
        number,
        sides,
        // An older copy would not fit the disk.
        mode == Mode.REUSE && scenario == Scenario.FULL_DISK ? Mode.PRECOPY : mode,
        scenario,
        size,
        load,
        random.nextBoolean(),
        random.nextBoolean(),
        random.nextBoolean(),
        new LineFaults(scenario, mode, random, size, atPlace).draw(),
        mode.hasConnections() && random.nextBoolean(),
        Duration.ofNanos(random.nextLong(1, ofProcess ? 120_000_000 : 60_000_000)),
        atPlace);
  }

  /**
   * {@return how long a side waits for the other}
   *
   * @param faulty whether in the attempt to which something happens
   */
  Duration peerTimeout(boolean faulty) {
    return faulty && scenario.isNotWorthWaiting() ? PEER_TIMEOUT : PATIENCE;
  }

  /** {@return whether nothing is to happen to any connection} */
  boolean hasWholeLines() {
    return plans.stream().allMatch(FaultPlan.NONE::equals);
  }

  /** {@return what happens to a connection} */
  FaultPlan plan(int connection) {
    return connection < plans.size() ? plans.get(connection) : FaultPlan.NONE;
  }

  /**
   * {@return whether what the run is about has happened when something has happened to a
   * connection}
   */
  boolean isStruckAt(int connection) {
    return scenario.isOfLine() || atPlace && connection == plans.size() - 1;
  }

  /** {@return the run in one line} */
  String describe() {
    return "%s, %s, %s over %s%s, %d KiB, guest writes %d MiB/s%s%s; %s"
        .formatted(
            scenario,
            mode,
            sides == Sides.PROCESSES ? "two processes" : "one process",
            unix ? "a unix socket" : "tcp",
            reordered ? ", reordered" : "",
            sizeBytes >> 10,
            loadBytesPerSecond >> 20,
            xbzrle ? ", xbzrle" : "",
            compress ? ", zstd" : "",
            when());
  }

  private String when() {
    if (scenario.ofCheckpoints()) {
      return RecordName.in(CheckpointPlan.of(seed, number).describe(this));
    }
    String time = "after %d us".formatted(moment.toNanos() / 1000);
    String lines =
        IntStream.range(0, plans.size())
            .filter(i -> !plans.get(i).equals(FaultPlan.NONE))
            .mapToObj(i -> "connection %d: %s".formatted(i, RecordName.in(plans.get(i).toString())))
            .collect(Collectors.joining(", "));
    if (lines.isEmpty()) {
      return time;
    }
    return scenario.isOfLine() || atPlace ? lines : lines + ", and " + time;
  }
}
