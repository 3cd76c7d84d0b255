package io.pageflux.qemu.multifd;

import io.pageflux.qemu.stream.QemuElement;
import org.jspecify.annotations.Nullable;

/** What comes over one of the connections of a migration, be it the main channel or another. */
sealed interface LinePiece {

  /** Something to pass on. */
  record Element(QemuElement element) implements LinePiece {}

  /**
   * Here the line waits for the others.
   *
   * @param element the main channel's, to be passed on when all are there
   */
  record Sync(@Nullable QemuElement element) implements LinePiece {}

  /** Frees what this owns. */
  default void release() {
    if (this instanceof Element e) {
      e.element().release();
    }
  }
}
