package io.pageflux.memory;

import java.lang.foreign.MemorySegment;
import java.util.Locale;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

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

  /**
   * What another process of this machine needs to map the block.
   *
   * @param descriptor this process's descriptor of the block's memory file, open while the memory
   *     is
   * @param token in the file's name, and known to nobody who was not told: whoever opens the
   *     descriptor from elsewhere can tell that it is this file
   */
  public record SharedFile(int descriptor, UUID token) {

    /** {@return what the kernel calls the file} */
    public String fileName() {
      return "pageflux-" + token;
    }
  }

  private final int index;
  private final RamBlockLayout layout;
  private final Backing backing;
  private final AtomicBoolean fresh;
  private final MemorySegment segment;
  private final @Nullable SharedFile sharedFile;
  private final AtomicBoolean lent = new AtomicBoolean();

  RamBlock(
      int index,
      RamBlockLayout layout,
      Backing backing,
      boolean fresh,
      MemorySegment segment,
      @Nullable SharedFile sharedFile) {
    this.index = index;
    this.layout = layout;
    this.backing = backing;
    this.fresh = new AtomicBoolean(fresh);
    this.segment = segment;
    this.sharedFile = sharedFile;
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

  /** {@return how another process can map the block; null if it cannot} */
  public @Nullable SharedFile sharedFile() {
    return sharedFile;
  }

  /** Says that another process has been told how to map the block, and may write to it. */
  public void lend() {
    lent.set(true);
  }

  /** Says that the process to which the block was lent has said that it does not write any more. */
  public void takeBack() {
    lent.set(false);
  }

  /**
   * {@return whether the block was lent to a process that may still write to it} Nothing can be
   * done with such a block, for nobody can take a mapping away from a process: make a new memory.
   */
  public boolean isLent() {
    return lent.get();
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
