package io.pageflux.dirty;

import java.util.Objects;

/**
 * What is known of the writes to a memory, and how they are to be tracked.
 *
 * @param writers who writes the memory while it migrates
 * @param kind which kind of tracker is wanted
 */
public record TrackingSpec(Writers writers, Kind kind) {

  /** Nothing is said: the memory's backing and the system decide. */
  public static final TrackingSpec DEFAULT = new TrackingSpec(Writers.BY_BACKING, Kind.AUTO);

  /** Who writes the memory. */
  public enum Writers {
    /** Other processes too if a block is a file; otherwise this process only. */
    BY_BACKING,
    /** This process only, through the blocks' own segments. */
    OWN_PROCESS,
    /** Other processes too, or this one through another mapping or the file itself. */
    OTHER_PROCESSES
  }

  /** The kinds of tracker that can be chosen for any program. */
  public enum Kind {
    /**
     * {@link #USERFAULTFD} where it can work and proves that it does; else {@link #COMPARING_HASH}.
     */
    AUTO,
    /**
     * The kernel tells: see {@link DirtyTrackers#userfaultfd}. For private and memfd blocks that
     * this process alone writes.
     */
    USERFAULTFD,
    /** A hash per page is compared: see {@link DirtyTrackers#comparingHashes}. */
    COMPARING_HASH,
    /** A second copy of the memory is compared: see {@link DirtyTrackers#comparingShadow}. */
    COMPARING_SHADOW
  }

  /** Checks that nothing is missing. */
  public TrackingSpec {
    Objects.requireNonNull(writers, "writers");
    Objects.requireNonNull(kind, "kind");
  }

  /** {@return this with other writers} */
  public TrackingSpec withWriters(Writers newWriters) {
    return new TrackingSpec(newWriters, kind);
  }

  /** {@return this with another kind} */
  public TrackingSpec withKind(Kind newKind) {
    return new TrackingSpec(writers, newKind);
  }
}
