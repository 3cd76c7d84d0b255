package io.pageflux.examples.cli;

import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.TypeConversionException;

/** Durations on the command line and in messages. */
public final class Durations {

  private static final Map<String, Long> NANOS =
      Map.of(
          "us", 1_000L,
          "ms", 1_000_000L,
          "s", 1_000_000_000L,
          "m", 60_000_000_000L,
          "min", 60_000_000_000L,
          "h", 3_600_000_000_000L);

  private Durations() {}

  /**
   * Reads a duration: {@code 300ms}, {@code 1.5s}, {@code 2m}, {@code 1h}. The unit is required.
   *
   * @throws TypeConversionException if the text is no duration
   */
  public static Duration parse(String text) {
    return Quantity.parse(text, NANOS)
        .map(Duration::ofNanos)
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "'"
                        + text
                        + "' is not a duration: give a number and one of the units us, ms, s, m,"
                        + " h, such as 300ms or 2s"));
  }

  /** As {@link #parse}, for durations that cannot be zero. */
  public static Duration parsePositive(String text) {
    Duration duration = parse(text);
    if (duration.isZero()) {
      throw new TypeConversionException("'" + text + "' is not long enough: more than 0 is needed");
    }
    return duration;
  }

  /** {@return a duration for people: {@code 12.3 ms}, {@code 4.56 s}, {@code 2 min 5 s}} */
  public static String text(Duration duration) {
    double millis = duration.toNanos() / 1e6;
    if (millis < 1000) {
      return String.format(Locale.ROOT, millis < 10 ? "%.2f ms" : "%.0f ms", millis);
    }
    if (millis < 120_000) {
      return String.format(Locale.ROOT, "%.2f s", millis / 1000);
    }
    return duration.toMinutes() + " min " + duration.toSecondsPart() + " s";
  }
}
