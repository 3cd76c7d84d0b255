package io.pageflux.prediction;

/**
 * What would happen.
 *
 * @param verdict whether it converges
 * @param probability in what part of the played migrations it did
 * @param seconds how long it takes, until it is over in either way
 * @param bytes what it sends
 * @param downtimeSeconds how long the guest stands still; 0 where it is not paused
 * @param rounds how many rounds are sent
 * @param throttlePercent how much the guest is throttled at the most
 * @param reason why it ended in the played migration nearest to the median
 */
public record Forecast(
    Verdict verdict,
    double probability,
    Range seconds,
    Range bytes,
    Range downtimeSeconds,
    Range rounds,
    Range throttlePercent,
    String reason) {

  /** Part of the played migrations that is as good as all. */
  static final double SURE = 0.9;

  /**
   * Whether a migration converges: the guest is paused because the limit of its downtime is met.
   */
  public enum Verdict {
    /** It does. */
    CONVERGES,
    /** Rounds or time are used up before. */
    DOES_NOT_CONVERGE,
    /** It depends on when it begins, or on what was not seen. */
    UNCERTAIN;

    static Verdict of(double probability) {
      if (probability >= SURE) {
        return CONVERGES;
      }
      return probability <= 1 - SURE ? DOES_NOT_CONVERGE : UNCERTAIN;
    }

    /** {@return the verdict for people} */
    public String text() {
      return switch (this) {
        case CONVERGES -> "converges";
        case DOES_NOT_CONVERGE -> "does not";
        case UNCERTAIN -> "uncertain";
      };
    }
  }

  /**
   * Tenth, fiftieth and ninetieth percentile.
   *
   * @param low one of ten is below it
   * @param expected the median
   * @param high one of ten is above it
   */
  public record Range(double low, double expected, double high) {
    static Range of(double[] sorted) {
      return new Range(at(sorted, 0.1), at(sorted, 0.5), at(sorted, 0.9));
    }

    private static double at(double[] sorted, double part) {
      return sorted[(int) Math.round(part * (sorted.length - 1))];
    }
  }
}
