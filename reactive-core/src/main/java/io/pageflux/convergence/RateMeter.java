package io.pageflux.convergence;

/**
 * An exponentially weighted average of a rate: what was measured {@value #HALF_LIFE_NANOS} ns
 * earlier counts for half. A sample weighs by its length, so that a short one, however odd, hardly
 * changes the rate; the first one is the rate at once, however short.
 */
final class RateMeter {

  static final long HALF_LIFE_NANOS = 1_000_000_000;

  private double weight;
  private double weighted;

  /** Learns how much there was in a time; nothing from no time. */
  void add(double amount, long nanos) {
    if (nanos <= 0) {
      return;
    }
    double kept = Math.pow(0.5, (double) nanos / HALF_LIFE_NANOS);
    weight = weight * kept + (1 - kept);
    weighted = weighted * kept + (1 - kept) * (amount * 1e9 / nanos);
  }

  /** {@return whether anything was learned, were it that there is nothing} */
  boolean isKnown() {
    return weight > 0;
  }

  /** {@return how much there is in a second; 0 if nothing is known} */
  double perSecond() {
    return weight == 0 ? 0 : weighted / weight;
  }
}
