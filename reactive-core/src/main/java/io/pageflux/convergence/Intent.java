package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import java.time.Duration;

/** What somebody wants of a migration: the one setting of {@link IntentPolicy}. */
public sealed interface Intent {

  /**
   * The downtime matters: its limit holds, and a guest that does not let it be met is throttled.
   */
  record ShortDowntime() implements Intent {
    @Override
    public String toString() {
      return "short-downtime";
    }
  }

  /** The time in all matters: the limit of the downtime is raised before the guest is throttled. */
  record ShortMigration() implements Intent {
    @Override
    public String toString() {
      return "short-migration";
    }
  }

  /**
   * It must be over in time, whatever the downtime is.
   *
   * @param time since the first round began
   */
  record FinishWithin(Duration time) implements Intent {
    /**
     * Checks the time.
     *
     * @throws IllegalArgumentException if it is not above 0
     */
    public FinishWithin {
      if (time.isNegative() || time.isZero()) {
        throw new IllegalArgumentException("time > 0 required but it was " + time);
      }
    }

    @Override
    public String toString() {
      return "finish-within=" + MigrationText.of(time).replace(" ", "");
    }
  }
}
