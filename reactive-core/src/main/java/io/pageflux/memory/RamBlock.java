package io.pageflux.memory;

import java.lang.foreign.MemorySegment;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicBoolean;

/** One named, contiguous piece of guest memory outside the heap. */
public final class RamBlock {

  /** Where a block's bytes live, which decides how writes to them can be tracked. */
  public enum Backing {
    /** A private anonymous mapping of this process. */
    ANONYMOUS,
    /** A shared mapping of an anonymous memory file. */
    MEMFD,
    /** A shared mapping of a file, which other processes may be writing. */
    FILE
  }

  private final int index;
  private final RamBlockLayout layout;
  private final Backing backing;
  private final AtomicBoolean fresh;
  private final MemorySegment segment;

  RamBlock(
      int index, RamBlockLayout layout, Backing backing, boolean fresh, MemorySegment segment) {
    this.index = index;
    this.layout = layout;
    this.backing = backing;
    this.fresh = new AtomicBoolean(fresh);
    this.segment = segment;
  }

  /** {@return the block's place in its guest memory, from 0} */
  public int index() {
    return index;
  }

  /** {@return the name} */
  public String name() {
    return layout.name();
  }

  /** {@return the name and shape} */
  public RamBlockLayout layout() {
    return layout;
  }

  /** {@return where the bytes live} */
  public Backing backing() {
    return backing;
  }

  /**
   * Asks, for whoever is about to fill the block, whether it is known to hold nothing but zeros: it
   * was made by this memory, and nobody has asked before. One who is told so need not touch a page
   * that is to be zero and that it has not written itself.
   *
   * @return whether it is; false from the next call on
   */
  public boolean takeFresh() {
    return fresh.getAndSet(false);
  }

  /** {@return the size in bytes} */
  public long sizeBytes() {
    return layout.sizeBytes();
  }

  /** {@return the page size in bytes} */
  public int pageSizeBytes() {
    return layout.pageSizeBytes();
  }

  /** {@return the number of pages} */
  public long pageCount() {
    return layout.pageCount();
  }

  /**
   * {@return the block's bytes, readable and writable from any thread until the memory is closed}
   */
  public MemorySegment segment() {
    return segment;
  }

  /** {@return where a page begins, in bytes from the start of the block} */
  public long pageOffset(long page) {
    return page * layout.pageSizeBytes();
  }

  @Override
  public String toString() {
    return layout + " (" + backing.name().toLowerCase(Locale.ROOT) + ")";
  }
}
