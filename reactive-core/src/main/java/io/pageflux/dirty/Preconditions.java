package io.pageflux.dirty;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;

/** What every tracker asks for before it collects. */
final class Preconditions {

  private Preconditions() {}

  /** The memory is still mapped. */
  static void requireOpen(GuestMemory memory) {
    if (!memory.isOpen()) {
      throw MigrationException.of(
          Kind.TRACKING,
          "the guest memory "
              + memory.layout()
              + " has been closed: close its tracker first, and the memory last");
    }
  }

  /** The set is one of pages of this memory. */
  static void requireSameLayout(GuestMemory memory, MemoryPages pages) {
    if (pages.layout() != memory.layout() && !pages.layout().equals(memory.layout())) {
      throw new IllegalArgumentException(
          "a set of pages of " + pages.layout() + " given to a tracker of " + memory.layout());
    }
  }

  static MigrationException notStarted(String name) {
    return MigrationException.of(
        Kind.TRACKING,
        "the tracker '"
            + name
            + "' is not started, was closed, or stopped at an error: call start() and send every"
            + " page again");
  }
}
