package io.pageflux.convergence;

import io.pageflux.convergence.ConvergenceControl.Action;
import io.pageflux.convergence.ConvergenceMeter.Counters;
import io.pageflux.convergence.ConvergenceStep.Kind;
import io.pageflux.convergence.SwitchOverCost.Part;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A migration without threads, clocks and bytes: a fluid model of a guest and of a link that are
 * scripted over time, with the real meter, control and policy between them.
 *
 * <p>The guest writes to pages at random, so many in a second; a page that is dirty already does
 * not get dirtier. A throttle takes its share of the writes. The link carries so many bytes in a
 * second; what was carried is acknowledged each half second, and a round's end a way there and back
 * later.
 */
final class Simulation {

  private static final long TICK_NANOS = 10_000_000;
  private static final double TICK_SECONDS = TICK_NANOS / 1e9;
  private static final long ANSWER_NANOS = 20_000_000;
  private static final long COLLECT_NANOS = 1_000_000;
  private static final long HEARD_NANOS = 500_000_000;
  private static final Duration NEVER = Duration.ofHours(6);

  private final double pages;
  private double hotPages;
  private double bytesPerPage = 4096;
  private double laterBytesPerPage = 4096;
  private @Nullable DoubleUnaryOperator deltaBytes;
  private boolean tries;
  private double zeroPart;
  private DoubleUnaryOperator pagesWrittenPerSecond = t -> 0;
  private DoubleUnaryOperator linkBytesPerSecond = t -> 1e8;
  private boolean canThrottle = true;
  private boolean postcopy;
  private double limitChangesAt = Double.MAX_VALUE;
  private Duration otherLimit = Duration.ZERO;
  private Duration pause = Duration.ZERO;
  private SwitchOverCost switchOver = SwitchOverCost.of(Duration.ZERO);

  private long now = 1_000_000_000_000L;
  private long began = now;
  private long roundBegan = now;
  private ConvergenceMeter meter = new ConvergenceMeter(4096, switchOver);
  private double dirty; // found by the last collections
  private double written; // since the last one, and not found before
  private int throttle;
  private int greatestThrottle;
  private int rounds;
  private double settled;
  private double acknowledgedBytes;
  private double contentPages;
  private double sentBytes;
  private final List<ConvergenceStep> steps = new ArrayList<>();
  private final List<ConvergenceFigures> asked = new ArrayList<>();
  private final List<Duration> downtimes = new ArrayList<>();

  private Simulation(double pages) {
    this.pages = pages;
    this.hotPages = pages;
  }

  static Simulation ofMebibytes(double mebibytes) {
    return new Simulation(mebibytes * 256);
  }

  /** How much the guest writes in bytes per second, by the second. */
  Simulation writing(DoubleUnaryOperator bytesPerSecond) {
    pagesWrittenPerSecond = t -> bytesPerSecond.applyAsDouble(t) / 4096;
    return this;
  }

  /** How much the link carries in bytes per second, by the second. */
  Simulation link(DoubleUnaryOperator bytesPerSecond) {
    linkBytesPerSecond = bytesPerSecond;
    return this;
  }

  /** What a page becomes on the wire, in the first round and in the others. */
  Simulation wire(double first, double later) {
    bytesPerPage = first;
    laterBytesPerPage = later;
    return this;
  }

  /**
   * What a page becomes on the wire in later rounds, by the seconds since the round before began:
   * the longer a page was written, the less it is like what was sent.
   *
   * @param tries whether the dirty pages are tried out at the end of a round
   */
  Simulation deltas(DoubleUnaryOperator bytes, boolean tries) {
    deltaBytes = bytes;
    this.tries = tries;
    return this;
  }

  /** What part of the memory is zero at first, and costs nothing. */
  Simulation zero(double part) {
    zeroPart = part;
    return this;
  }

  Simulation unthrottled() {
    canThrottle = false;
    return this;
  }

  /** How long it takes to pause the guest, and what is known of that. */
  Simulation pausing(Duration took, SwitchOverCost known) {
    pause = took;
    switchOver = known;
    return this;
  }

  /** Writes go to a part of the memory only. */
  Simulation hot(double mebibytes) {
    hotPages = mebibytes * 256;
    return this;
  }

  /** Post-copy is possible. */
  Simulation postcopy() {
    postcopy = true;
    return this;
  }

  /** Somebody sets another limit of the downtime meanwhile. */
  Simulation limitAt(double second, Duration limit) {
    limitChangesAt = second;
    otherLimit = limit;
    return this;
  }

  /** How it ended. */
  record Result(
      Action action,
      String reason,
      double seconds,
      Duration expectedDowntime,
      Duration downtime,
      int rounds,
      int greatestThrottle,
      List<ConvergenceStep> steps,
      List<ConvergenceFigures> asked,
      List<Duration> downtimes) {

    /** The least downtime that a pause at the end of one of the last rounds would have had. */
    Duration leastOfLate(int ends) {
      return downtimes.subList(Math.max(0, downtimes.size() - ends), downtimes.size()).stream()
          .min(Duration::compareTo)
          .orElseThrow();
    }

    List<ConvergenceStep> steps(Kind kind) {
      return steps.stream().filter(step -> step.kind() == kind).toList();
    }

    @Override
    public String toString() {
      return "%s after %.2f s, %d rounds; downtime %s, expected %s; %s"
          .formatted(action, seconds, rounds, downtime, expectedDowntime, steps);
    }
  }

  private double seconds() {
    return (now - began) / 1e9;
  }

  private Counters counters() {
    return counters(settled, acknowledgedBytes);
  }

  private Counters counters(double heardPages, double heardBytes) {
    return new Counters(
        (long) heardPages,
        (long) heardBytes,
        (long) settled,
        (long) contentPages,
        (long) sentBytes);
  }

  private void guestWrites() {
    double unwritten = Math.max(0, hotPages - dirty - written);
    double writes =
        pagesWrittenPerSecond.applyAsDouble(seconds()) * TICK_SECONDS * (100 - throttle) / 100;
    written += unwritten * (1 - Math.exp(-writes / hotPages));
  }

  private void collect() {
    double found = written;
    dirty += written;
    written = 0;
    meter.collected(Math.round(found), Math.round(dirty), COLLECT_NANOS, now);
  }

  Result run(ConvergencePolicy.Maker policy, ConvergenceLimits limits) {
    ConvergenceControl control = new ConvergenceControl(policy, limits);
    meter = new ConvergenceMeter(4096, switchOver);
    if (postcopy) {
      control.allowPostcopy();
    }
    meter.began(now);
    dirty = pages;
    roundBegan = now;
    long lastPeriod = now;
    while (true) {
      double left = dirty;
      double settledBefore = settled;
      double heardSettled = settled;
      double heardBytes = acknowledgedBytes;
      long heardAt = now;
      meter.roundBegan(Math.round(dirty), counters(), now);
      roundBegan = now;
      dirty = 0;
      double cost = rounds == 0 ? bytesPerPage * (1 - zeroPart) : laterBytesPerPage;
      double content = rounds == 0 ? 1 - zeroPart : 1;
      while (left > 0) {
        double carried =
            Math.min(left, linkBytesPerSecond.applyAsDouble(seconds()) * TICK_SECONDS / cost);
        left -= carried;
        settled += carried;
        acknowledgedBytes += carried * cost;
        sentBytes += carried * cost;
        contentPages += carried * content;
        if (left < 1) {
          left = 0;
        }
        guestWrites();
        now += TICK_NANOS;
        if (now - heardAt >= HEARD_NANOS) {
          heardAt = now;
          heardSettled = settled;
          heardBytes = acknowledgedBytes;
        }
        if (now - lastPeriod >= ConvergenceMeter.PERIOD.toNanos()) {
          lastPeriod = now;
          meter.observe(counters(heardSettled, heardBytes), heardAt, now);
          if (rounds > 0) {
            collect();
          }
          Result ended = ask(control);
          if (ended != null) {
            return ended;
          }
        }
      }
      for (long t = 0; t < ANSWER_NANOS; t += TICK_NANOS) {
        guestWrites();
        now += TICK_NANOS;
      }
      rounds++;
      if (settled < settledBefore) {
        throw new AssertionError("a round took pages back");
      }
      meter.roundAcknowledged(counters(), ANSWER_NANOS, now);
      if (deltaBytes != null) {
        laterBytesPerPage = deltaBytes.applyAsDouble((now - roundBegan) / 1e9);
      }
      if (tries) {
        meter.tried(new ConvergenceMeter.Sample(100, 100, Math.round(100 * laterBytesPerPage)));
      }
      collect();
      Result ended = ask(control);
      if (ended != null) {
        return ended;
      }
    }
  }

  private @Nullable Result ask(ConvergenceControl control) {
    if (seconds() >= limitChangesAt) {
      limitChangesAt = Double.MAX_VALUE;
      steps.addAll(control.give(otherLimit, Duration.ofNanos(now - began)));
    }
    ConvergenceFigures figures =
        meter.figures(
            control.downtimeLimit(), new ConvergenceFigures.Throttle(throttle, canThrottle), now);
    asked.add(figures);
    if (figures.roundEnded()) {
      downtimes.add(downtime());
    }
    ConvergenceControl.Outcome outcome = control.decide(figures);
    steps.addAll(outcome.steps());
    if (outcome.throttlePercent() >= 0) {
      throttle = outcome.throttlePercent();
      greatestThrottle = Math.max(greatestThrottle, throttle);
    }
    if (figures.elapsed().compareTo(NEVER) > 0) {
      throw new AssertionError("it never ends: " + steps);
    }
    if (outcome.action() == Action.GO_ON) {
      return null;
    }
    if (outcome.action() != Action.ABORT) {
      switchOver.learn(Part.PAUSE, pause);
      switchOver.learn(Part.STATE, Duration.ZERO);
      switchOver.learn(Part.PREPARE, Duration.ZERO);
      switchOver.learn(Part.START, Duration.ZERO);
    }
    return new Result(
        outcome.action(),
        outcome.reason(),
        seconds(),
        figures.downtime().expected(),
        downtime(),
        rounds,
        greatestThrottle,
        List.copyOf(steps),
        List.copyOf(asked),
        List.copyOf(downtimes));
  }

  /** What a pause would cost in truth. */
  private Duration downtime() {
    double bytes = dirty * laterBytesPerPage;
    double t = seconds();
    double sending = 0;
    while (bytes > 0 && sending < NEVER.toSeconds()) {
      bytes -= linkBytesPerSecond.applyAsDouble(t + sending) * TICK_SECONDS;
      sending += TICK_SECONDS;
    }
    return pause.plusNanos((long) (sending * 1e9) + COLLECT_NANOS + 3 * ANSWER_NANOS);
  }
}
