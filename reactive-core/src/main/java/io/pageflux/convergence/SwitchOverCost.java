package io.pageflux.convergence;

import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;

/**
 * What a switch-over takes however little there is to send, and however near the destination is:
 * pausing the guest, getting its device state, having it loaded, starting the guest.
 *
 * <p>Nothing of that can be measured before it is done once: a guest that is to run cannot be
 * paused to see how long it takes, nor asked for a state that only a paused one has, and the
 * destination's part is done by the destination's guest. What can be measured before, the time for
 * an answer and for a collection of dirty pages, {@link ConvergenceMeter} measures. So this is
 * {@linkplain #of given} at first, and learned from each switch-over that comes far enough, also
 * from one that fails in the end. One object may serve many migrations of like guests; those that
 * are made from one spec share one.
 *
 * <p>Of the last {@value #KEPT} times that a part took, the median counts, and the lesser one of
 * two: the first time in a process takes far longer than any other, and now and then one is held up
 * by something else. As long as not every part was measured, the cost is not taken to be less than
 * what was given.
 *
 * <p>Thread-safe.
 */
public final class SwitchOverCost {

  /**
   * What is taken where nothing was given: about what it took for a guest in this process, between
   * two processes of one machine. A virtual machine takes more, mostly for its devices.
   */
  public static final Duration DEFAULT = Duration.ofMillis(5);

  private static final int KEPT = 5;

  /** What there is to do. */
  public enum Part {
    /** To pause the guest. */
    PAUSE,
    /** To get its device state. */
    STATE,
    /** To have that loaded at the destination. */
    PREPARE,
    /** To start the guest there. */
    START
  }

  private final Duration given;
  private final Map<Part, Deque<Long>> nanos = new EnumMap<>(Part.class);

  private SwitchOverCost(Duration given) {
    this.given = given;
  }

  /** {@return one of which nothing is known but the default} */
  public static SwitchOverCost unknown() {
    return new SwitchOverCost(DEFAULT);
  }

  /**
   * {@return one that somebody knows, from an earlier migration for example}
   *
   * @throws IllegalArgumentException if it is negative
   */
  public static SwitchOverCost of(Duration all) {
    if (all.isNegative()) {
      throw new IllegalArgumentException("switchOverCost >= 0 required but it was " + all);
    }
    return new SwitchOverCost(all);
  }

  /** Learns how long a part took. */
  public synchronized void learn(Part part, Duration took) {
    Objects.requireNonNull(part, "part");
    Deque<Long> times = nanos.computeIfAbsent(part, p -> new ArrayDeque<>());
    if (times.size() == KEPT) {
      times.remove();
    }
    times.add(Math.max(0, took.toNanos()));
  }

  private static long median(Deque<Long> times) {
    return times.stream().sorted().skip((times.size() - 1) / 2).findFirst().orElse(0L);
  }

  /** {@return what the next switch-over is expected to cost} */
  public synchronized Duration expected() {
    Duration learned =
        Duration.ofNanos(nanos.values().stream().mapToLong(SwitchOverCost::median).sum());
    return isLearned() || learned.compareTo(given) > 0 ? learned : given;
  }

  /** {@return whether every part was measured} */
  public synchronized boolean isLearned() {
    return nanos.size() == Part.values().length;
  }

  @Override
  public String toString() {
    return expected() + (isLearned() ? " (learned)" : " (given)");
  }
}
