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
    Period p) {

  static PolicyFigures afterRound(int round) {
    return new PolicyFigures(
        round, true, round * 1000L, 10, 1000, new Throttle(0, true), Period.NONE);
  }

  PolicyFigures inRound() {
    return new PolicyFigures(rounds, false, millis, pages, expected, throttle, p);
  }

  PolicyFigures at(long newMillis) {
    return new PolicyFigures(rounds, ended, newMillis, pages, expected, throttle, p);
  }

  PolicyFigures remaining(long newPages) {
    return new PolicyFigures(rounds, ended, millis, newPages, expected, throttle, p);
  }

  PolicyFigures expecting(long newMillis) {
    return new PolicyFigures(rounds, ended, millis, pages, newMillis, throttle, p);
  }

  PolicyFigures throttled(int percent, boolean possible) {
    return new PolicyFigures(
        rounds, ended, millis, pages, expected, new Throttle(percent, possible), p);
  }

  PolicyFigures period(int number, long dirtied, long acknowledged) {
    return new PolicyFigures(
        rounds,
        ended,
        millis,
        pages,
        expected,
        throttle,
        new Period(number, Duration.ofSeconds(1), dirtied, dirtied, acknowledged));
  }

  ConvergenceFigures with(long limitMillis) {
    return new ConvergenceFigures(
        rounds,
        ended,
        Duration.ofMillis(millis),
        pages,
        pages * 4096,
        new Rates(0, 0, 0, 4096),
        new Downtime(Duration.ofMillis(expected), Duration.ZERO, Duration.ofMillis(limitMillis)),
        throttle,
        p,
        Stall.NONE);
  }
}
