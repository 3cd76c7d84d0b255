package io.pageflux.transport.fault;

import java.time.Duration;
import java.util.Objects;
import java.util.random.RandomGenerator;

/**
 * What happens to one connection, seen from the side that is wrapped.
 *
 * @param there to what this side sends
 * @param back to what this side receives
 * @param connectDelay how long it takes until the connection is there
 */
public record FaultPlan(Fault there, Fault back, Duration connectDelay) {

  /** Nothing happens. */
  public static final FaultPlan NONE = of(Fault.NONE, Fault.NONE);

  /** A peer of which nothing is ever heard, and that hears nothing. */
  public static final FaultPlan HALF_OPEN =
      of(Fault.swallow(Place.START), Fault.swallow(Place.START));

  /** Checks the delay. */
  public FaultPlan {
    Objects.requireNonNull(there, "there");
    Objects.requireNonNull(back, "back");
    if (connectDelay.isNegative()) {
      throw new IllegalArgumentException("a delay of " + connectDelay);
    }
  }

  /** A plan for a connection that is made at once. */
  public static FaultPlan of(Fault there, Fault back) {
    return new FaultPlan(there, back, Duration.ZERO);
  }

  /** {@return this plan for a connection that takes a time to be made} */
  public FaultPlan withConnectDelay(Duration delay) {
    return new FaultPlan(there, back, delay);
  }

  /**
   * Draws a fault of one direction, at a random byte.
   *
   * @param kind which
   * @param bytes how many are expected to pass, at least 1
   */
  public static FaultPlan random(
      RandomGenerator random, Fault.Kind kind, boolean back, long bytes) {
    Place place = Place.afterBytes(random.nextLong(bytes));
    Duration time =
        switch (kind) {
          case DELAY -> Duration.ofNanos(1 + random.nextLong(2_000_000));
          case STALL -> Duration.ofNanos(1 + random.nextLong(50_000_000));
          default -> Duration.ZERO;
        };
    Fault fault = new Fault(kind, place, time);
    return back ? of(Fault.NONE, fault) : of(fault, Fault.NONE);
  }

  @Override
  public String toString() {
    return "there %s, back %s%s"
        .formatted(there, back, connectDelay.isZero() ? "" : ", connected after " + connectDelay);
  }
}
