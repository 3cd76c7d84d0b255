package io.pageflux.examples.cli;

import io.pageflux.convergence.RampedDowntime.Ramp;
import java.time.Duration;
import picocli.CommandLine.TypeConversionException;

/** A ramp of downtime limits on the command line. */
public final class RampChoice {

  private static final String TO = "..";

  private RampChoice() {}

  /**
   * Reads {@code FROM..TO}, two durations such as {@code 150ms..1050ms}. All else is as in {@link
   * Ramp#DEFAULT}.
   *
   * @throws TypeConversionException if the text is no such ramp
   */
  public static Ramp parse(String text) {
    int at = text.indexOf(TO);
    if (at < 0) {
      throw new TypeConversionException(
          "'%s' is not a ramp: give two limits of the downtime, such as 150ms..1050ms"
              .formatted(text));
    }
    Duration from = Durations.parse(text.substring(0, at));
    Duration to = Durations.parse(text.substring(at + TO.length()));
    if (to.compareTo(from) < 0) {
      throw new TypeConversionException("'%s' is not a ramp: it goes down".formatted(text));
    }
    Ramp normal = Ramp.DEFAULT;
    return new Ramp(from, to, normal.levels(), normal.fromRound(), normal.cooldown());
  }

  /** {@return a ramp such that {@link #parse} reads it} */
  public static String text(Ramp ramp) {
    return "%dus%s%dus"
        .formatted(ramp.initial().toNanos() / 1000, TO, ramp.greatest().toNanos() / 1000);
  }
}
