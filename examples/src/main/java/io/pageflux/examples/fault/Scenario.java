package io.pageflux.examples.fault;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What may happen to a migration, or to checkpoints, of the bench. */
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
  KILL_SOURCE(Of.PROCESS),
  KILL_DESTINATION(Of.PROCESS),
  SIGNAL_SOURCE(Of.PROCESS),
  SIGNAL_DESTINATION(Of.PROCESS),
  FREEZE_SOURCE(Of.PROCESS),
  FREEZE_DESTINATION(Of.PROCESS),
  STARVE_DESTINATION(Of.PROCESS),
  FULL_DISK(Of.PROCESS),
  // To checkpoints, most of them to the process of the source.
  CHECKPOINTS_KILL_SOURCE(Of.CHECKPOINTS),
  CHECKPOINTS_CUT(Of.CHECKPOINTS),
  CHECKPOINTS_END(Of.CHECKPOINTS),
  CHECKPOINTS_FLIP(Of.CHECKPOINTS),
  CHECKPOINTS_STALL(Of.CHECKPOINTS),
  CHECKPOINTS_PAUSE_OF_THE_LINE(Of.CHECKPOINTS),
  CHECKPOINTS_SWALLOW(Of.CHECKPOINTS),
  CHECKPOINTS_CANCEL_SOURCE(Of.CHECKPOINTS);

  /** What it happens to. */
  enum Of {
    LINE,
    PROCESS,
    CHECKPOINTS
  }

  private final Of of;

  Scenario() {
    this(Of.LINE);
  }

  Scenario(Of of) {
    this.of = of;
  }

  /** {@return whether it happens to checkpoints, and not to a migration} */
  boolean ofCheckpoints() {
    return of == Of.CHECKPOINTS;
  }

  /** {@return whether it happens to a connection, at a place} */
  boolean isOfLine() {
    return switch (this) {
      case CUT, END, FLIP, STALL, PAUSE_OF_THE_LINE, SWALLOW, SLOW_LINE, HALF_OPEN -> true;
      default -> false;
    };
  }

  /** {@return whether a side waits in vain, until its patience is over} */
  boolean isSilence() {
    return switch (this) {
      case STALL, SWALLOW, HALF_OPEN, CHECKPOINTS_STALL, CHECKPOINTS_SWALLOW -> true;
      default -> false;
    };
  }

  /**
   * {@return whether nobody is to wait for long: for what is silent, or a process that is not well}
   */
  boolean isNotWorthWaiting() {
    return isSilence() || of == Of.PROCESS;
  }

  /** {@return whether the worst of it is that a line is lost, which another one mends} */
  boolean isMendable() {
    return switch (this) {
      case NOTHING, CUT, END, STALL, PAUSE_OF_THE_LINE, SWALLOW, SLOW_LINE -> true;
      default -> false;
    };
  }

  /** {@return whether a source's process may not be there, or not be of use, after it} */
  boolean endsSource() {
    return this == KILL_SOURCE || this == SIGNAL_SOURCE || this == CHECKPOINTS_KILL_SOURCE;
  }

  /** {@return whether a destination's process may not be there, or not be of use, after it} */
  boolean endsDestination() {
    return switch (this) {
      case KILL_DESTINATION, SIGNAL_DESTINATION, STARVE_DESTINATION, FULL_DISK -> true;
      default -> false;
    };
  }

  static List<Scenario> all(Of of) {
    return Arrays.stream(values()).filter(s -> s.of == of).toList();
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
