package io.pageflux.dirty;

import io.pageflux.memory.MemoryPages;
import java.lang.foreign.MemorySegment;

/**
 * Knows which pages of one guest memory have been written.
 *
 * <p>The protocol of use: {@link #start()} once; then, round by round, {@link #collect} and only
 * <em>after</em> it copy the pages that it reported, telling each copy to {@link #copied}. A write
 * that races with a collection or a copy is then never lost: either the copy has it, or a later
 * collection reports the page (or both).
 *
 * <p><b>Threading:</b> methods block and are for one thread at a time, not for an event loop. The
 * guest may write from any number of threads meanwhile.
 *
 * <p><b>Errors:</b> a {@link io.pageflux.MigrationException} of kind {@code TRACKING}.
 */
public interface DirtyTracker extends AutoCloseable {

  /** {@return what this tracker goes by, for logs and reports} */
  String name();

  /**
   * Begins to track. What was written before is unknown: the first round sends every page.
   *
   * <p>May be called again to begin anew.
   */
  void start();

  /**
   * Adds to {@code into} every page that was written since the last collection, or since the start,
   * and begins to watch it again. Pages that were not written may be reported too.
   *
   * @return how many of the pages were not in {@code into} before
   */
  long collect(MemoryPages into);

  /**
   * Learns what was copied out of a page in order to be sent. A tracker that compares takes exactly
   * these bytes for what the destination has: were it to compare with what it saw itself when it
   * collected, a page that changed for the copy and changed back afterwards would be lost.
   *
   * <p>Trackers that the kernel or the program tells of writes do nothing here.
   *
   * @param blockIndex the block
   * @param page the page of the block
   * @param slab holds the copy
   * @param offset where in the slab it begins
   */
  default void copied(int blockIndex, long page, MemorySegment slab, long offset) {}

  /**
   * {@return whether {@link #collect} reports nothing but what was written since the last time, and
   * takes little time for it} Then it may be asked also while a round is under way, between two
   * copies, to know in time how fast the guest writes. A tracker that compares would report the
   * pages that the round has not come to yet.
   */
  default boolean collectsWithinRounds() {
    return false;
  }

  /**
   * {@return how much of the memory one {@link #collect(MemoryPages, int, long, long)} may look at,
   * in bytes, so that it takes no longer than about 50 ms, whatever was written} Who collects goes
   * on to the next part when he has let others have the thread. {@code Long.MAX_VALUE} if {@link
   * #collect(MemoryPages)} is quick enough for a memory of any size, and for a tracker that knows
   * no parts.
   */
  default long sliceBytes() {
    return Long.MAX_VALUE;
  }

  /**
   * Collects as {@link #collect(MemoryPages)} does, but looks only at a part of one block. Each
   * page is a transaction of its own, so a collection in parts, with copies and writes in between,
   * loses no write. Pages next to the part may be reported, too.
   *
   * @param from the first page of the part
   * @param to the page behind it
   * @return how many pages were not in {@code into} before
   * @throws UnsupportedOperationException if {@link #sliceBytes()} is {@code Long.MAX_VALUE}
   */
  default long collect(MemoryPages into, int blockIndex, long from, long to) {
    throw new UnsupportedOperationException(name() + " collects all of the memory at once");
  }

  /** Stops tracking and frees what it took. The memory itself stays. May be called again. */
  @Override
  void close();
}
