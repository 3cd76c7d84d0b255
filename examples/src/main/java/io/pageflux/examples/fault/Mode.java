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
  /** The same, over as many pairs of connections as it takes, one after the other. */
  RECOVER,
  /** It stays, and checkpoints of it go. */
  CHECKPOINTS;

  /** Those in which the guest goes. */
  static final List<Mode> MIGRATIONS = List.of(PRECOPY, RESUME, REUSE, POSTCOPY, RECOVER);

  /** {@return whether there may be more connections than one} */
  boolean hasConnections() {
    return mends() || isPostcopy();
  }

  /** {@return whether the guest goes before its pages do} */
  boolean isPostcopy() {
    return this == POSTCOPY || this == RECOVER;
  }

  /** {@return whether another connection takes the place of one that is lost} */
  boolean mends() {
    return this == RESUME || this == RECOVER;
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
