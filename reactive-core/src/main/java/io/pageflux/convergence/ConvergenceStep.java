package io.pageflux.convergence;

import io.pageflux.channel.MigrationText;
import java.time.Duration;

/**
 * Something that was done so that the migration ends, or that went wrong with it.
 *
 * @param at when, since the first round began
 * @param kind what kind of thing
 * @param what what it was, for people
 * @param why why, for people
 */
public record ConvergenceStep(Duration at, Kind kind, String what, String why) {

  /** What kinds of things there are. */
  public enum Kind {
    /** The downtime may be something else now. */
    DOWNTIME_LIMIT("downtime-limit"),
    /** Time is taken from the guest. */
    THROTTLE("throttle"),
    /** The guest was to be throttled, or let off, and was not. The migration goes on. */
    THROTTLE_REFUSED("throttle-refused"),
    /** The guest has all its time again. */
    THROTTLE_LIFTED("throttle-lifted"),
    /** The policy failed and is not asked again. */
    POLICY_FAILED("policy-failed"),
    /** The guest is paused. */
    SWITCH_OVER("switch-over"),
    /** The guest is to go on at the destination before all pages are there. */
    START_POSTCOPY("start-postcopy"),
    /** The policy wants post-copy, and it is not possible. The migration goes on. */
    POSTCOPY_REFUSED("postcopy-refused"),
    /** The connection was lost; the migration is to go on with another one. */
    CONNECTION_LOST("connection-lost"),
    /** The migration goes on with another connection. */
    RESUMED("resumed"),
    /** Pages are not sent that the destination has already. */
    REUSED("reused"),
    /** The migration is given up. */
    ABORT("abort");

    private final String text;

    Kind(String text) {
      this.text = text;
    }

    /** {@return the name in reports} */
    public String text() {
      return text;
    }
  }

  @Override
  public String toString() {
    return "%s: %s, because %s".formatted(MigrationText.of(at), what, why);
  }
}
