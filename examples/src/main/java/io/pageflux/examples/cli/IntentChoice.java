package io.pageflux.examples.cli;

import io.pageflux.convergence.Intent;
import java.time.Duration;
import java.util.Locale;
import picocli.CommandLine.TypeConversionException;

/** Intents on the command line. */
public final class IntentChoice {

  private static final String WITHIN = "finish-within=";

  private IntentChoice() {}

  /**
   * Reads {@code short-downtime}, {@code short-migration} or {@code finish-within=DURATION}.
   *
   * @throws TypeConversionException if the text is none of these
   */
  public static Intent parse(String text) {
    String intent = text.strip().toLowerCase(Locale.ROOT);
    if (intent.startsWith(WITHIN)) {
      return new Intent.FinishWithin(Durations.parsePositive(intent.substring(WITHIN.length())));
    }
    return switch (intent) {
      case "short-downtime" -> new Intent.ShortDowntime();
      case "short-migration" -> new Intent.ShortMigration();
      default ->
          throw new TypeConversionException(
              ("'%s' is not an intent: give short-downtime, short-migration or"
                      + " finish-within=DURATION, such as finish-within=30s")
                  .formatted(text));
    };
  }

  /** {@return an intent such that {@link #parse} reads it} */
  public static String text(Intent intent) {
    return intent instanceof Intent.FinishWithin(Duration time)
        ? WITHIN + time.toNanos() / 1000 + "us"
        : intent.toString();
  }
}
