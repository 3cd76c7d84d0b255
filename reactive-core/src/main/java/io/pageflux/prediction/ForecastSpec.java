package io.pageflux.prediction;

import io.pageflux.convergence.ConvergenceLimits;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.SwitchOverCost;
import java.time.Duration;
import java.util.function.DoubleUnaryOperator;

/**
 * What is to be foretold.
 *
 * @param linkBytesPerSecond what the link carries, by the seconds since the first round began
 * @param roundTrip how long the destination takes to answer
 * @param limits what the migration may take
 * @param policy who decides when it ends
 * @param switchOverCost what a switch-over costs, the devices' state and the like
 * @param canThrottle whether the guest can be throttled
 * @param destinationHere whether the destination is on this host, and needs its processors
 * @param runs how many migrations are played, 1 to 10,000
 * @param seed of the random numbers
 */
public record ForecastSpec(
    DoubleUnaryOperator linkBytesPerSecond,
    Duration roundTrip,
    ConvergenceLimits limits,
    ConvergencePolicy.Maker policy,
    Duration switchOverCost,
    boolean canThrottle,
    boolean destinationHere,
    int runs,
    long seed) {

  /** Played migrations, unless told otherwise. */
  public static final int DEFAULT_RUNS = 100;

  /**
   * Checks the values.
   *
   * @throws IllegalArgumentException if one is out of range
   */
  public ForecastSpec {
    if (roundTrip.isNegative()) {
      throw new IllegalArgumentException("roundTrip >= 0 required but it was " + roundTrip);
    }
    if (switchOverCost.isNegative()) {
      throw new IllegalArgumentException(
          "switchOverCost >= 0 required but it was " + switchOverCost);
    }
    if (runs < 1 || runs > 10_000) {
      throw new IllegalArgumentException("1 to 10000 runs required but it was " + runs);
    }
  }

  /**
   * {@return a forecast for a link of one rate to another host, an unthrottled guest and 1 ms to
   * answer}
   */
  public static ForecastSpec of(
      long bytesPerSecond, ConvergenceLimits limits, ConvergencePolicy.Maker policy) {
    if (bytesPerSecond <= 0) {
      throw new IllegalArgumentException("a rate above 0 required but it was " + bytesPerSecond);
    }
    return new ForecastSpec(
        t -> bytesPerSecond,
        Duration.ofMillis(1),
        limits,
        policy,
        SwitchOverCost.DEFAULT,
        false,
        false,
        DEFAULT_RUNS,
        1);
  }

  /** {@return the same with a guest that can be throttled, or not} */
  public ForecastSpec withCanThrottle(boolean can) {
    return new ForecastSpec(
        linkBytesPerSecond,
        roundTrip,
        limits,
        policy,
        switchOverCost,
        can,
        destinationHere,
        runs,
        seed);
  }

  /** {@return the same with a destination on this host, or on another one} */
  public ForecastSpec withDestinationHere(boolean here) {
    return new ForecastSpec(
        linkBytesPerSecond,
        roundTrip,
        limits,
        policy,
        switchOverCost,
        canThrottle,
        here,
        runs,
        seed);
  }

  /** {@return the same with another link, in bytes per second by the second} */
  public ForecastSpec withLink(DoubleUnaryOperator link) {
    return new ForecastSpec(
        link, roundTrip, limits, policy, switchOverCost, canThrottle, destinationHere, runs, seed);
  }

  /** {@return the same with another cost of a switch-over} */
  public ForecastSpec withSwitchOverCost(Duration cost) {
    return new ForecastSpec(
        linkBytesPerSecond,
        roundTrip,
        limits,
        policy,
        cost,
        canThrottle,
        destinationHere,
        runs,
        seed);
  }
}
