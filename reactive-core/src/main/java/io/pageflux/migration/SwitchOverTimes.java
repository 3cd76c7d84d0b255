package io.pageflux.migration;

import io.pageflux.convergence.SwitchOverCost;
import io.pageflux.convergence.SwitchOverCost.Part;
import java.time.Duration;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Takes the time of the parts of a switch-over, and has the next one profit from it. One part
 * follows the other, on whatever threads; a part that does not end teaches nothing.
 */
final class SwitchOverTimes {

  /**
   * What is being done.
   *
   * @param withoutNanos what of its time is known from elsewhere
   */
  private record Begun(Part part, long nanos, long withoutNanos) {}

  private final SwitchOverCost cost;
  private final LongSupplier clock;
  private volatile @Nullable Begun begun;

  SwitchOverTimes(SwitchOverCost cost, LongSupplier clock) {
    this.cost = cost;
    this.clock = clock;
  }

  void begin(Part part) {
    begin(part, 0);
  }

  /** A part begins that ends with an answer of the destination, which takes a time of its own. */
  void begin(Part part, long answerNanos) {
    begun = new Begun(part, clock.getAsLong(), answerNanos);
  }

  /** A part has ended, if it is under way. */
  void end(Part part) {
    Begun last = begun;
    if (last != null && last.part == part) {
      begun = null;
      cost.learn(part, Duration.ofNanos(clock.getAsLong() - last.nanos - last.withoutNanos));
    }
  }
}
