package io.pageflux.examples.fault;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What may happen to a migration of the bench. */
enum Scenario {
  // In one process, over real sockets.
  NOTHING,
  CUT,
  END,
  FLIP,
  STALL,
  PAUSE_OF_THE_LINE,
  SWALLOW,
  SLOW_LINE,
  HALF_OPEN,
  NOBODY_LISTENS,
  STOP_SOURCE,
  CANCEL_SOURCE,
  STOP_DESTINATION,
  CANCEL_DESTINATION,
  TIME_LIMIT,
  GUEST_DOES_NOT_PAUSE,
  GUEST_DOES_NOT_LOAD,
  GUEST_DOES_NOT_START,
  OUT_OF_MEMORY_LOADING,
  // With a process for each side.
  KILL_SOURCE(true),
  KILL_DESTINATION(true),
  SIGNAL_SOURCE(true),
  SIGNAL_DESTINATION(true),
  FREEZE_SOURCE(true),
  FREEZE_DESTINATION(true),
  STARVE_DESTINATION(true),
  FULL_DISK(true);

  private final boolean ofProcesses;

  Scenario() {
    this(false);
  }

  Scenario(boolean ofProcesses) {
    this.ofProcesses = ofProcesses;
  }

  /** {@return whether each side is a process} */
  boolean ofProcesses() {
    return ofProcesses;
  }

  static List<Scenario> all(boolean ofProcesses) {
    return Arrays.stream(values()).filter(s -> s.ofProcesses == ofProcesses).toList();
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
