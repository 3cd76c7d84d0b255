package io.pageflux.examples.cli;

import java.time.Duration;
import reactor.util.retry.Retry;

/** How a lost connection is made again. */
public final class Reconnection {

  private static final Duration FIRST = Duration.ofMillis(100);
  private static final Duration LONGEST = Duration.ofSeconds(5);

  private Reconnection() {}

  /**
   * {@return so many attempts in a row, with pauses that grow from 100 ms to 5 s, each up to a half
   * longer or shorter}
   */
  public static Retry attempts(int attempts) {
    return Retry.backoff(attempts, FIRST).maxBackoff(LONGEST).jitter(0.5);
  }
}
