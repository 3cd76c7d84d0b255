package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import java.time.Duration;
import java.util.Optional;

/**
 * A migration that runs, in figures: all that a policy may know. Immutable.
 *
 * @param rounds how many rounds the destination has acknowledged
 * @param roundEnded whether a round has just ended; if not, one is under way
 * @param elapsed time since the first round began
 * @param remainingPages pages that the destination lacks, as far as is known: of the round under
 *     way those that it has not acknowledged, and those that were found dirty since
 * @param remainingBytes what these will be on the wire, by what pages became lately
 * @param rates how fast things go
 * @param downtime what the downtime would be, and may be
 * @param throttle the guest's throttle
 * @param period the last whole period
 * @param stall whether there is progress
 */
public record ConvergenceFigures(
    int rounds,
    boolean roundEnded,
    Duration elapsed,
    long remainingPages,
    long remainingBytes,
    Rates rates,
    Downtime downtime,
    Throttle throttle,
    Period period,
    Stall stall) {

  /**
   * How fast things go: exponentially weighted averages, in which what was a second earlier counts
   * for half. 0 where nothing is known yet.
   *
   * @param dirtyPagesPerSecond pages that the guest dirties and that were not known to be dirty:
   *     less than it writes, and ever less within a long round
   * @param pagesPerSecond pages that are got done with: acknowledged by the destination, or found
   *     to be unchanged
   * @param bytesPerSecond bytes of the wire that the destination acknowledged, not what a socket
   *     has swallowed
   * @param wireBytesPerPage what a page with contents became lately by deltas and compression; a
   *     page's size until something is known
   */
  public record Rates(
      double dirtyPagesPerSecond,
      double pagesPerSecond,
      double bytesPerSecond,
      double wireBytesPerPage) {}

  /**
   * What the downtime would be, and may be.
   *
   * @param expected what it would be, were the guest paused now
   * @param fixed of that, what it would be if no page were dirty
   * @param limit what it may be
   * @param known whether enough is known for {@code expected} to mean something: while nothing was
   *     acknowledged that says how fast pages can be sent, it is {@code fixed} only
   */
  public record Downtime(Duration expected, Duration fixed, Duration limit, boolean known) {

    /** {@return what is expected, for people} */
    String expectedText() {
      return known ? MigrationText.of(expected) : "unknown";
    }
  }

  /**
   * The guest's throttle.
   *
   * @param percent how much of its time is taken from it, or is about to be
   * @param possible whether it can be throttled
   */
  public record Throttle(int percent, boolean possible) {}

  /**
   * A period: from one collection of dirty pages to the first one that is a second later, or more.
   *
   * @param number from 1; 0 before the first one has ended
   * @param length how long it was
   * @param dirtiedPages pages that were found dirty in it
   * @param dirtiedBytes what these will be on the wire
   * @param acknowledgedBytes what the destination acknowledged in it
   */
  public record Period(
      int number, Duration length, long dirtiedPages, long dirtiedBytes, long acknowledgedBytes) {

    /** No period has ended. */
    public static final Period NONE = new Period(0, Duration.ZERO, 0, 0, 0);
  }

  /**
   * Progress, by what remains in bytes of the wire at the ends of rounds. Only a new least
   * remainder is progress: one that goes up and down is none.
   *
   * @param leastBytes the least that ever remained; {@code Long.MAX_VALUE} before the first round
   * @param rounds rounds since then
   * @param time time since then
   * @param atMinimum whether what remains is about the least of the last rounds: a good moment, as
   *     moments go
   */
  public record Stall(long leastBytes, int rounds, Duration time, boolean atMinimum) {

    /** No round has ended. */
    public static final Stall NONE = new Stall(Long.MAX_VALUE, 0, Duration.ZERO, true);
  }

  /** {@return these figures with another limit of the downtime} */
  public ConvergenceFigures withDowntimeLimit(Duration limit) {
    return new ConvergenceFigures(
        rounds,
        roundEnded,
        elapsed,
        remainingPages,
        remainingBytes,
        rates,
        new Downtime(downtime.expected(), downtime.fixed(), limit, downtime.known()),
        throttle,
        period,
        stall);
  }

  /** {@return how long it would take to send what remains} */
  public Duration sendingTime() {
    return downtime.expected().minus(downtime.fixed());
  }

  /**
   * {@return the switch-over that is due because the downtime would be within the limit; empty if
   * it would not, or nobody knows}
   */
  public Optional<ConvergenceDecision.SwitchOver> ready() {
    if (remainingPages == 0) {
      return Optional.of(new ConvergenceDecision.SwitchOver("no page is dirty"));
    }
    return !downtime.known() || downtime.expected().compareTo(downtime.limit()) > 0
        ? Optional.empty()
        : Optional.of(
            new ConvergenceDecision.SwitchOver(
                "the expected downtime of %s is within the limit of %s"
                    .formatted(
                        MigrationText.of(downtime.expected()),
                        MigrationText.of(downtime.limit()))));
  }
}
