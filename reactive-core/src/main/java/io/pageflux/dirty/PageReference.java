package io.pageflux.dirty;

import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;

/** What the destination has of each page, in a form that the page can be compared with. */
interface PageReference extends AutoCloseable {

  /** Takes the bytes that were copied out of a page for what the destination has. */
  void set(RamBlock block, long page, MemorySegment copy, long offset);

  /** {@return whether a page, which was set before, holds other bytes now} */
  boolean differs(RamBlock block, long page);

  /** Frees the memory. */
  @Override
  void close();
}
