package io.pageflux.examples.bench.convergence;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * A guest, a link and codecs, of which the downtime is to be foretold.
 *
 * @param size the guest's memory in MiB
 * @param dirtyRate what it writes in MiB/s
 * @param codecs whether deltas and compressed pages are sent
 * @param link what the link carries in MiB/s; 0 for all that loopback does
 * @param limit what the downtime may be
 * @param pause how long the guest's devices take to be paused
 * @param load how long its state takes to be loaded
 * @param cost what is known of that
 */
record DowntimeCase(
    int size,
    int dirtyRate,
    boolean codecs,
    int link,
    Duration limit,
    Duration pause,
    Duration load,
    Knowledge cost) {

  /** What is known of what the switch-over costs. */
  enum Knowledge {
    /** Nothing: there is nothing slow. */
    DEFAULT("default"),
    /** What a migration before has taught. */
    LEARNED("learned"),
    /** What somebody has said. */
    GIVEN("given");

    private final String text;

    Knowledge(String text) {
      this.text = text;
    }

    String text() {
      return text;
    }
  }

  private static final Duration LIMIT = Duration.ofMillis(300);

  private static DowntimeCase of(int size, int dirtyRate, boolean codecs, int link) {
    return new DowntimeCase(
        size, dirtyRate, codecs, link, LIMIT, Duration.ZERO, Duration.ZERO, Knowledge.DEFAULT);
  }

  private DowntimeCase within(Duration other) {
    return new DowntimeCase(size, dirtyRate, codecs, link, other, pause, load, cost);
  }

  private DowntimeCase slow(int pauseMillis, int loadMillis, Knowledge known) {
    return new DowntimeCase(
        size,
        dirtyRate,
        codecs,
        link,
        limit,
        Duration.ofMillis(pauseMillis),
        Duration.ofMillis(loadMillis),
        known);
  }

  /** {@return all of them} */
  static List<DowntimeCase> all() {
    List<DowntimeCase> cases = new ArrayList<>();
    cases.add(of(64, 10, false, 20));
    cases.add(of(64, 10, false, 60));
    cases.add(of(64, 10, false, 0));
    cases.add(of(64, 40, false, 60));
    cases.add(of(64, 40, false, 0));
    cases.add(of(128, 30, true, 6));
    cases.add(of(128, 30, true, 20));
    cases.add(of(128, 30, true, 0));
    cases.add(of(128, 100, true, 10));
    cases.add(of(128, 100, true, 40));
    // Rewritten all over: the downtime is as long as all that it writes takes.
    cases.add(of(24, 100, false, 24).within(Duration.ofSeconds(1)));
    cases.add(of(48, 200, true, 4).within(Duration.ofSeconds(1)));
    cases.add(of(64, 10, false, 30).slow(150, 0, Knowledge.LEARNED));
    cases.add(of(128, 30, true, 15).slow(150, 60, Knowledge.LEARNED));
    cases.add(of(64, 10, false, 60).slow(100, 100, Knowledge.GIVEN));
    return List.copyOf(cases);
  }

  Duration slowness() {
    return pause.plus(load);
  }

  /** {@return what it is, for people} */
  String text() {
    return "%dm, %dm/s, %s%s"
        .formatted(
            size,
            dirtyRate,
            codecs ? "codecs" : "raw",
            slowness().isZero()
                ? ""
                : ", slow by %d ms (%s)".formatted(slowness().toMillis(), cost.text()));
  }
}
