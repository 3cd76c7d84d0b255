package io.pageflux.prediction;

import io.pageflux.convergence.ConvergenceControl;
import io.pageflux.convergence.ConvergenceControl.Action;
import io.pageflux.convergence.ConvergenceFigures;
import io.pageflux.convergence.ConvergenceMeter;
import io.pageflux.convergence.ConvergenceMeter.Counters;
import io.pageflux.convergence.ConvergenceMeter.Sample;
import io.pageflux.convergence.SwitchOverCost;
import org.jspecify.annotations.Nullable;

/** One played migration: a fluid model in virtual time between the real meter and control. */
final class ForecastRun {

  /** Time is looked at this often, for links that change. */
  private static final double STEP_SECONDS = 0.1;

  /** Policies without any limit end here. */
  private static final double LONGEST_SECONDS = 6 * 3600;

  private static final double PERIOD_SECONDS = ConvergenceMeter.PERIOD.toMillis() / 1e3;

  /** Below this a link is taken to stand still. */
  private static final double LEAST_RATE = 1e-3;

  record Result(
      boolean converged,
      double seconds,
      double bytes,
      double downtimeSeconds,
      int rounds,
      int throttlePercent,
      String reason) {}

  private final GuestProfile profile;
  private final ForecastSpec spec;
  private final double costFactor;
  private final double extrapolation;
  private final double answerSeconds;
  private final ConvergenceMeter meter;
  private final ConvergenceControl control;

  private double now;
  private double guest; // the guest's own time, which a throttle slows down
  private double windowBegan; // in the guest's time
  private double windowFound; // of the pages since then
  private double lastCollected;
  private double lastPeriod;
  private int throttle;
  private int greatestThrottle;
  private int rounds;
  private boolean first = true;
  private double cost; // bytes of a page of this round
  private double content;
  private double settled;
  private double bytes;
  private double contentPages;

  /**
   * @param beginSeconds when in what was watched it begins
   * @param costFactor by how much pages cost more than measured
   */
  ForecastRun(
      GuestProfile profile,
      ForecastSpec spec,
      double beginSeconds,
      double costFactor,
      double extrapolation) {
    this.profile = profile;
    this.spec = spec;
    this.guest = beginSeconds;
    this.costFactor = costFactor;
    this.extrapolation = extrapolation;
    this.answerSeconds = Math.max(1e-4, spec.roundTrip().toNanos() / 1e9);
    this.meter =
        new ConvergenceMeter(profile.pageSizeBytes(), SwitchOverCost.of(spec.switchOverCost()));
    this.control = new ConvergenceControl(spec.policy(), spec.limits());
  }

  private long nanos() {
    return (long) (now * 1e9);
  }

  private Counters counters() {
    return new Counters(
        (long) settled, (long) bytes, (long) settled, (long) contentPages, (long) bytes);
  }

  Result run() {
    meter.began(nanos());
    windowBegan = guest;
    double dirty = profile.totalPages();
    cost(0, dirty);
    while (true) {
      meter.roundBegan(Math.round(dirty), counters(), nanos());
      double sentWithout = dirty;
      while (sentWithout > 0) {
        sentWithout = step(sentWithout);
        if (now - lastPeriod >= PERIOD_SECONDS) {
          lastPeriod = now;
          meter.observe(counters(), nanos(), nanos());
          if (!first && now - lastCollected >= Math.max(1, 20 * profile.collectSeconds())) {
            collect(false);
          }
          Result ended = decide(sentWithout);
          if (ended != null) {
            return ended;
          }
        }
      }
      pass(answerSeconds);
      rounds++;
      meter.roundAcknowledged(counters(), (long) (answerSeconds * 1e9), nanos());
      pass(profile.collectSeconds());
      first = false;
      collect(true);
      dirty = windowFound;
      Result ended = decide(0);
      if (ended != null) {
        return ended;
      }
      windowBegan = guest;
      windowFound = 0;
    }
  }

  /** Sends for a while. {@return the pages of the round that are left} */
  private double step(double left) {
    double rate = pagesPerSecond();
    double seconds = Math.min(STEP_SECONDS, left / rate);
    seconds = Math.min(seconds, Math.max(1e-6, lastPeriod + PERIOD_SECONDS - now));
    double pages = Math.min(left, rate * seconds);
    settled += pages;
    bytes += pages * cost;
    contentPages += pages * content;
    pass(seconds);
    double rest = left - pages;
    return rest < 0.5 ? 0 : rest;
  }

  private double pagesPerSecond() {
    double link = Math.max(LEAST_RATE, spec.linkBytesPerSecond().applyAsDouble(now));
    // Zero pages are found so fast that only the others count.
    double codec =
        profile.codecs().pagesPerSecond(spec.destinationHere())
            / Math.max(0.02, content)
            / costFactor;
    return Math.min(link / Math.max(cost, 1e-3), codec);
  }

  private void pass(double seconds) {
    now += seconds;
    guest += seconds * (100 - throttle) / 100;
  }

  /**
   * Dirty pages of the window, which grows until the next round begins.
   *
   * @param roundEnded whether some of them are tried out, for the next round to have them
   */
  private void collect(boolean roundEnded) {
    double all = profile.dirtying().pages(windowBegan, guest - windowBegan, extrapolation);
    // Throttled or not, what was found stays found.
    double found = Math.max(0, Math.min(all, profile.totalPages()) - windowFound);
    windowFound += found;
    lastCollected = now;
    if (roundEnded) {
      cost(guest - windowBegan, windowFound);
      long pages = Math.max(1, Math.round(windowFound));
      meter.tried(new Sample(pages, Math.round(pages * content), Math.round(pages * cost)));
    }
    meter.collected(
        Math.round(found),
        Math.round(windowFound),
        (long) (profile.collectSeconds() * 1e9),
        nanos());
  }

  /** What the pages of the next round cost, that were dirtied within a time. */
  private void cost(double seconds, double pages) {
    if (first) {
      cost = costFactor * profile.first().rawBytes();
      content = profile.first().contentPart();
      return;
    }
    // A page was last read somewhere within the round before: half of it is still to be added.
    PageLesson lesson = profile.later(1.5 * seconds);
    double hits = hits(pages);
    cost = costFactor * (hits * lesson.deltaBytes() + (1 - hits) * lesson.rawBytes());
    content = lesson.contentPart();
  }

  /** The part of the pages whose old version is in the cache. */
  private double hits(double pages) {
    double slots = profile.cachePages();
    if (slots == 0) {
      return 0;
    }
    if (slots >= profile.totalPages()) {
      return 1;
    }
    double filled = slots / profile.totalPages();
    if (rounds < 2) {
      return filled;
    }
    // Pages fall on slots at random; the first one on each is kept.
    double load = Math.max(1e-9, pages / slots);
    return Math.max(filled, (1 - Math.exp(-load)) / load);
  }

  private @Nullable Result decide(double left) {
    ConvergenceFigures figures =
        meter.figures(
            control.downtimeLimit(),
            new ConvergenceFigures.Throttle(throttle, spec.canThrottle()),
            nanos());
    ConvergenceControl.Outcome outcome = control.decide(figures);
    if (outcome.throttlePercent() >= 0) {
      throttle = outcome.throttlePercent();
      greatestThrottle = Math.max(throttle, greatestThrottle);
    }
    if (outcome.action() == Action.GO_ON) {
      return now < LONGEST_SECONDS ? null : ended(false, 0, "it goes on for ever");
    }
    if (outcome.action() == Action.ABORT) {
      return ended(false, 0, outcome.reason());
    }
    boolean ready = figures.withDowntimeLimit(control.downtimeLimit()).ready().isPresent();
    return switchOver(windowFound + left, ready, outcome.reason());
  }

  private Result switchOver(double pages, boolean ready, String reason) {
    first = false;
    cost(guest - windowBegan, pages);
    double began = now;
    throttle = 100; // it is paused
    now += profile.collectSeconds();
    double left = pages;
    while (left > 0 && now - began < LONGEST_SECONDS) {
      lastPeriod = now;
      left = step(left);
    }
    now += 3 * answerSeconds + spec.switchOverCost().toNanos() / 1e9;
    return ended(ready, now - began, reason);
  }

  private Result ended(boolean converged, double downtime, String reason) {
    return new Result(converged, now, bytes, downtime, rounds, greatestThrottle, reason);
  }
}
