package io.pageflux.channel;

import java.time.Duration;
import java.util.Locale;

/** Words for people. */
public final class MigrationText {

  private MigrationText() {}

  /** A duration as people write it. */
  public static String of(Duration duration) {
    long millis = duration.toMillis();
    if (millis < 1000) {
      return millis + " ms";
    }
    return millis % 1000 == 0
        ? millis / 1000 + " s"
        : String.format(Locale.ROOT, "%.1f s", millis / 1000.0);
  }

  /** What a failure says, or what it is if it says nothing. */
  public static String of(Throwable e) {
    String message = e.getMessage();
    return message == null || message.isBlank() ? e.toString() : message;
  }
}
