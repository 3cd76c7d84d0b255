package io.pageflux.examples.fault;

import java.util.List;
import java.util.Locale;

/** How the guest of a run migrates. */
enum Mode {
  /** In rounds, over one connection. */
  PRECOPY,
  /** In rounds, over as many connections as it takes, one after the other. */
  RESUME,
  /** To a destination that has an older copy. */
  REUSE,
  /** It goes before its pages do, which are asked for on a second connection. */
  POSTCOPY,
  /** It stays, and checkpoints of it go. */
  CHECKPOINTS;

  /** Those in which the guest goes. */
  static final List<Mode> MIGRATIONS = List.of(PRECOPY, RESUME, REUSE, POSTCOPY);

  /** {@return whether there may be more connections than one} */
  boolean hasConnections() {
    return this == RESUME || this == POSTCOPY;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
