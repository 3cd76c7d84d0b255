package io.pageflux.convergence;

import io.pageflux.convergence.ConvergenceFigures.Downtime;
import io.pageflux.convergence.ConvergenceFigures.Period;
import io.pageflux.convergence.ConvergenceFigures.Rates;
import io.pageflux.convergence.ConvergenceFigures.Stall;
import io.pageflux.convergence.ConvergenceFigures.Throttle;
import java.time.Duration;

/** Figures for policies' tests, in which nothing is wrong but what a test sets. */
record PolicyFigures(
    int rounds,
    boolean ended,
    long millis,
    long pages,
    long expected,
    Throttle throttle,
    Period p,
    Stall stall) {

  static PolicyFigures afterRound(int round) {
    return new PolicyFigures(
        round, true, round * 1000L, 10, 1000, new Throttle(0, true), Period.NONE, Stall.NONE);
  }

  PolicyFigures inRound() {
    return new PolicyFigures(rounds, false, millis, pages, expected, throttle, p, stall);
  }

  PolicyFigures at(long newMillis) {
    return new PolicyFigures(rounds, ended, newMillis, pages, expected, throttle, p, stall);
  }

  PolicyFigures remaining(long newPages) {
    return new PolicyFigures(rounds, ended, millis, newPages, expected, throttle, p, stall);
  }

  PolicyFigures expecting(long newMillis) {
    return new PolicyFigures(rounds, ended, millis, pages, newMillis, throttle, p, stall);
  }

  PolicyFigures throttled(int percent, boolean possible) {
    return new PolicyFigures(
        rounds, ended, millis, pages, expected, new Throttle(percent, possible), p, stall);
  }

  PolicyFigures period(int number, long dirtied, long acknowledged) {
    return new PolicyFigures(
        rounds,
        ended,
        millis,
        pages,
        expected,
        throttle,
        new Period(number, Duration.ofSeconds(1), dirtied, dirtied, acknowledged),
        stall);
  }

  PolicyFigures stalled(int since, boolean atMinimum) {
    return new PolicyFigures(
        rounds,
        ended,
        millis,
        pages,
        expected,
        throttle,
        p,
        new Stall(1, since, Duration.ofSeconds(since), atMinimum));
  }

  ConvergenceFigures with(long limitMillis) {
    return new ConvergenceFigures(
        rounds,
        ended,
        Duration.ofMillis(millis),
        pages,
        pages * 4096,
        new Rates(0, 0, 0, 4096),
        new Downtime(
            Duration.ofMillis(expected), Duration.ZERO, Duration.ofMillis(limitMillis), true),
        throttle,
        p,
        stall);
  }
}
