package io.pageflux.examples.fault;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What may happen to a migration of the bench. */
enum Scenario {
  // To the line, the people and the guests.
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
  GUEST_STARTS_AND_SAYS_IT_DID_NOT,
  GUEST_STARTS_SLOWLY,
  OUT_OF_MEMORY_LOADING,
  // To a process.
  KILL_SOURCE(true),
  KILL_DESTINATION(true),
  SIGNAL_SOURCE(true),
  SIGNAL_DESTINATION(true),
  FREEZE_SOURCE(true),
  FREEZE_DESTINATION(true),
  STARVE_DESTINATION(true),
  FULL_DISK(true);

  private final boolean ofProcess;

  Scenario() {
    this(false);
  }

  Scenario(boolean ofProcess) {
    this.ofProcess = ofProcess;
  }

  /** {@return whether it happens to a process, which may not survive it} */
  boolean ofProcess() {
    return ofProcess;
  }

  /** {@return whether a side waits in vain, until its patience is over} */
  boolean isSilence() {
    return this == STALL || this == SWALLOW || this == HALF_OPEN;
  }

  /** {@return whether a source's process may not be there, or not be of use, after it} */
  boolean endsSource() {
    return this == KILL_SOURCE || this == SIGNAL_SOURCE;
  }

  /** {@return whether a destination's process may not be there, or not be of use, after it} */
  boolean endsDestination() {
    return switch (this) {
      case KILL_DESTINATION, SIGNAL_DESTINATION, STARVE_DESTINATION, FULL_DISK -> true;
      default -> false;
    };
  }

  static List<Scenario> all(boolean ofProcess) {
    return Arrays.stream(values()).filter(s -> s.ofProcess == ofProcess).toList();
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
