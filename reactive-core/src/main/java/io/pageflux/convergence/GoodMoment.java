package io.pageflux.convergence;

import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * Waits for a good moment to do what is due whatever remains: the end of a round that leaves about
 * as little as the best of the last ones, and not one that happens to leave much. A guest whose
 * writing comes and goes is not paused at a peak then.
 *
 * <p>The wait is bounded: {@value #MOST_ROUNDS} rounds, which is as far as a minimum is remembered,
 * and a tenth of the time that had passed when it began, or 5 s if that is more. In the first
 * round, with which nothing can be compared, any moment is good.
 */
final class GoodMoment {

  /** The most rounds that are waited for. */
  static final int MOST_ROUNDS = StallDetector.WINDOW;

  /** What part of the time so far may be waited for. */
  private static final int PART = 10;

  /** What may be waited for in any case: short migrations have short rounds. */
  private static final Duration LEAST = Duration.ofSeconds(5);

  private @Nullable Duration since;
  private int sinceRounds;

  /** {@return whether now is the moment} Waiting begins when it is asked first. */
  boolean isNow(ConvergenceFigures figures) {
    Duration began = since;
    if (began == null) {
      began = figures.elapsed();
      since = began;
      sinceRounds = figures.rounds();
    }
    boolean good = figures.rounds() == 0 || figures.roundEnded() && figures.stall().atMinimum();
    return good
        || figures.rounds() - sinceRounds >= MOST_ROUNDS
        || figures.elapsed().minus(began).compareTo(most(began)) >= 0;
  }

  private static Duration most(Duration began) {
    Duration part = began.dividedBy(PART);
    return part.compareTo(LEAST) > 0 ? part : LEAST;
  }
}
