package io.pageflux.convergence;

import io.pageflux.convergence.ConvergenceFigures.Downtime;
import io.pageflux.convergence.ConvergenceFigures.Period;
import io.pageflux.convergence.ConvergenceFigures.Rates;
import io.pageflux.convergence.ConvergenceFigures.Throttle;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * Makes figures of a migration's counters.
 *
 * <p>The expected downtime is what remains, in bytes of the wire, at the rate at which the
 * destination acknowledged bytes; or, if that is longer, in pages at the rate at which rounds got
 * done with pages, for where most pages shrink to nothing it is not the wire that takes the time.
 * To this comes what a switch-over costs however little there is to send: the last collection of
 * dirty pages, three times the shortest time that the destination took to answer anything (last
 * round, hand-over, start), and the {@link SwitchOverCost}. What it answers at the end of a round
 * comes after all that was still on its way then, which is counted among the bytes already: so the
 * answers before the first round are the better ones.
 *
 * <p>Times are nanoseconds of any clock that goes forward. Not thread-safe.
 */
public final class ConvergenceMeter {

  /** The least length of a period, as in QEMU. */
  public static final Duration PERIOD = Duration.ofSeconds(1);

  /** How long nothing may have been heard of the destination before that counts as no progress. */
  private static final long SILENCE_NANOS = 2 * PERIOD.toNanos();

  /** Fewer pages say nothing of how fast pages are got done with. */
  private static final long ROUND_PAGES = 64;

  /**
   * How many times longer than its bytes need on the wire a round has to take before it says how
   * fast pages are got done with.
   */
  private static final double HELD_UP_BY_PAGES = 1.5;

  private static final Duration FOR_EVER = Duration.ofDays(1);

  /**
   * What has been counted since the migration began.
   *
   * @param settledPages pages that were acknowledged, and pages that turned out unchanged
   * @param acknowledgedBytes bytes of the wire that were acknowledged
   * @param readPages pages that were read and are on their way, or do not have to be sent
   * @param contentPages of these, pages that were not zero
   * @param sentBytes bytes of the wire that were made of these, and of no others: pages wait for a
   *     slow link after they were read
   */
  public record Counters(
      long settledPages,
      long acknowledgedBytes,
      long readPages,
      long contentPages,
      long sentBytes) {

    /** Nothing. */
    public static final Counters NONE = new Counters(0, 0, 0, 0, 0);
  }

  /**
   * Some pages that are dirty, as they are on the wire now.
   *
   * @param pages how many were looked at, at least 1
   * @param contents how many of these are not zero
   * @param bytes what they are on the wire, without what is zero or unchanged
   */
  public record Sample(long pages, long contents, long bytes) {}

  private final PageCost cost;
  private final SwitchOverCost switchOver;
  private final StallDetector stall = new StallDetector();
  private final RateMeter dirtying = new RateMeter();
  private final RateMeter settling = new RateMeter();
  private final RateMeter goodput = new RateMeter();

  private long beganNanos;
  private int rounds;
  private boolean inRound;
  private Counters roundBegin = Counters.NONE;
  private long roundPages;
  private long roundBeganNanos;
  private double roundPagesPerSecond;
  private boolean firstRoundsRate;

  private Counters last = Counters.NONE;
  private long lastNanos;
  private Counters lastSent = Counters.NONE;

  private long answerNanos = Long.MAX_VALUE;
  private long collectNanos;
  private long collectedNanos;
  private long idleNanos;
  private long dirtyPages;

  private long periodNanos;
  private long periodDirtied;
  private long periodAcknowledged;
  private Period period = Period.NONE;

  /**
   * Makes a meter.
   *
   * @param pageSizeBytes what a page is taken to need on the wire before anything is known
   * @param switchOver what a switch-over costs; may learn meanwhile
   */
  public ConvergenceMeter(int pageSizeBytes, SwitchOverCost switchOver) {
    this.cost = new PageCost(pageSizeBytes);
    this.switchOver = switchOver;
  }

  /** The first round begins. */
  public void began(long nowNanos) {
    beganNanos = nowNanos;
    lastNanos = nowNanos;
    collectedNanos = nowNanos;
    periodNanos = nowNanos;
  }

  /** The destination has answered something, before the first round. */
  public void answered(long nanos) {
    answerNanos = Math.min(answerNanos, Math.max(0, nanos));
  }

  /** {@return the shortest time that an answer took; 0 before the first one} */
  public Duration answerTime() {
    return answerNanos == Long.MAX_VALUE ? Duration.ZERO : Duration.ofNanos(answerNanos);
  }

  /** What {@linkplain #began has begun} goes on with something that began earlier. */
  public void goesOnSince(long nanos) {
    beganNanos = nanos;
  }

  /**
   * A round begins.
   *
   * @param pages how many pages are dirty; from here on none is but these
   */
  public void roundBegan(long pages, Counters counters, long nowNanos) {
    inRound = true;
    roundPages = pages;
    roundBegin = counters;
    roundBeganNanos = nowNanos;
    dirtyPages = 0;
    // Between two rounds nothing was to be sent: that time says nothing of a link.
    last = counters;
    lastNanos = nowNanos;
    lastSent = counters;
  }

  /**
   * Learns how a round goes on.
   *
   * @param counters as they are now, what was acknowledged as it was when it was heard of last
   * @param heardNanos when that was
   */
  public void observe(Counters counters, long heardNanos, long nowNanos) {
    learnCost(counters);
    long at = heardNanos > lastNanos ? heardNanos : nowNanos;
    if (at == heardNanos || nowNanos - lastNanos >= SILENCE_NANOS) {
      learnRates(counters, at - lastNanos, at);
    }
  }

  /**
   * The destination has acknowledged the round.
   *
   * @param roundAnswerNanos how long ago it was told of the round's end
   */
  public void roundAcknowledged(Counters counters, long roundAnswerNanos, long nowNanos) {
    learnCost(counters);
    answerNanos = Math.min(answerNanos, roundAnswerNanos);
    long nanos = nowNanos - lastNanos;
    // The way there and back is not the link's rate, but of a short round most of the time.
    learnRates(counters, nanos - Math.min(answerNanos, nanos / 2), nowNanos);
    learnRoundRate(counters, nowNanos);
    rounds++;
    inRound = false;
    roundPages = 0;
  }

  /**
   * The migration goes on after a time that the clock does not show, in which nothing was to be
   * sent and the guest wrote. What arrived in it, of what was on its way, says nothing of a link.
   *
   * @param counters as they are at the end of it
   * @param idle how long it was
   */
  public void idled(Counters counters, long idle, long nowNanos) {
    idleNanos += idle;
    last = counters;
    lastNanos = nowNanos;
  }

  /**
   * Some of the dirty pages were tried out after a round: what the next round sends will be as they
   * are, until others are tried out.
   *
   * @param sample what they are; null if none could be looked at
   */
  public void tried(@Nullable Sample sample) {
    cost.tried(sample);
  }

  private void learnCost(Counters counters) {
    cost.add(
        new PageCost.Lesson(
            counters.readPages() - lastSent.readPages(),
            counters.contentPages() - lastSent.contentPages(),
            counters.sentBytes() - lastSent.sentBytes()),
        rounds == 0);
    lastSent = counters;
  }

  private void learnRates(Counters counters, long nanos, long atNanos) {
    long bytes = Math.max(0, counters.acknowledgedBytes() - last.acknowledgedBytes());
    goodput.add(bytes, nanos);
    settling.add(Math.max(0, counters.settledPages() - last.settledPages()), nanos);
    periodAcknowledged += bytes;
    last = counters;
    lastNanos = atNanos;
  }

  private void learnRoundRate(Counters counters, long nowNanos) {
    long contentPages = counters.contentPages() - roundBegin.contentPages();
    if (contentPages < ROUND_PAGES) {
      return;
    }
    double took = Math.max(1, nowNanos - roundBeganNanos) / 1e9;
    double lesson = contentPages / took;
    long bytes = counters.acknowledgedBytes() - roundBegin.acknowledgedBytes();
    if (took < HELD_UP_BY_PAGES * seconds(bytes, goodput.perSecond())) {
      // It was the wire that took the time: pages can be got done with this fast, or faster.
      roundPagesPerSecond = roundPagesPerSecond == 0 ? 0 : Math.max(roundPagesPerSecond, lesson);
      return;
    }
    boolean first = roundPagesPerSecond == 0 || firstRoundsRate;
    roundPagesPerSecond = first ? lesson : Math.max(lesson, (roundPagesPerSecond + lesson) / 2);
    firstRoundsRate = rounds == 0;
  }

  /**
   * The dirty pages were collected.
   *
   * @param found how many were found
   * @param dirty how many are dirty now, those of a round under way not included
   * @param tookNanos how long it took
   */
  public void collected(long found, long dirty, long tookNanos, long nowNanos) {
    dirtyPages = dirty;
    collectNanos = tookNanos;
    long sentNanos = nowNanos - collectedNanos;
    long wroteNanos = sentNanos + idleNanos;
    dirtying.add(found, wroteNanos);
    collectedNanos = nowNanos;
    // A period compares what was dirtied with what was sent, so it takes the same time of both.
    periodDirtied += idleNanos == 0 ? found : Math.round(found * ((double) sentNanos / wroteNanos));
    long length = nowNanos - periodNanos;
    if (length >= PERIOD.toNanos()) {
      period =
          new Period(
              period.number() + 1,
              Duration.ofNanos(length),
              periodDirtied,
              bytes(periodDirtied),
              periodAcknowledged);
      periodNanos = nowNanos;
      periodDirtied = 0;
      periodAcknowledged = 0;
    }
    if (!inRound && idleNanos == 0) { // else more remains for another reason than the link
      stall.roundEnded(bytes(dirty), nowNanos);
    }
    idleNanos = 0;
  }

  private long bytes(long pages) {
    return Math.round(cost.contents(pages) * cost.bytesPerPage());
  }

  /** {@return the figures as they are} */
  public ConvergenceFigures figures(Duration downtimeLimit, Throttle throttle, long nowNanos) {
    long settled = last.settledPages() - roundBegin.settledPages();
    long ofRound = inRound ? Math.max(0, roundPages - settled) : 0;
    long remaining = dirtyPages + ofRound;
    double contents =
        cost.contents(dirtyPages)
            + (rounds == 0 ? cost.firstRoundContents(ofRound) : cost.contents(ofRound));
    long remainingBytes = Math.round(contents * cost.bytesPerPage());
    Duration fixed =
        switchOver.expected().plusNanos(collectNanos).plus(answerTime().multipliedBy(3));
    return new ConvergenceFigures(
        rounds,
        !inRound,
        Duration.ofNanos(nowNanos - beganNanos),
        remaining,
        remainingBytes,
        new Rates(
            dirtying.perSecond(), settling.perSecond(), goodput.perSecond(), cost.bytesPerPage()),
        new Downtime(
            fixed.plus(sending(contents, remainingBytes)),
            fixed,
            downtimeLimit,
            remaining == 0 || goodput.isKnown()),
        throttle,
        period,
        stall.stall(nowNanos));
  }

  private Duration sending(double contents, long bytes) {
    double byBytes =
        goodput.isKnown() && goodput.perSecond() == 0 && bytes > 0
            ? FOR_EVER.toSeconds()
            : seconds(bytes, goodput.perSecond());
    double byPages = seconds(contents, roundPagesPerSecond);
    double longest = Math.min(Math.max(byBytes, byPages), FOR_EVER.toSeconds());
    return Duration.ofNanos((long) (longest * 1e9));
  }

  /** Where nothing is known, nothing is promised. */
  private static double seconds(double amount, double perSecond) {
    return amount == 0 || perSecond == 0 ? 0 : amount / perSecond;
  }
}
