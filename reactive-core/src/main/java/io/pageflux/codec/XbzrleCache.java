package io.pageflux.codec;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.pageflux.internal.Linux;
import io.pageflux.memory.RamBlockLayout;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * What was sent of pages before, so that the next version can be sent as a difference.
 *
 * <p>Direct-mapped, as in QEMU: a page has one slot, which its address decides. A slot that holds
 * another page is given away only if nobody asked for that page in this round and the one before
 * it; so a guest that writes more pages than there are slots does not make all of them useless.
 *
 * <p>A page is known by its address: where its block begins when all blocks are laid end to end,
 * and its offset in the block.
 *
 * <p><b>Memory bound:</b> {@link #capacityBytes()} for the pages and 16 bytes per slot, in one
 * mapping outside the heap, which does not count against {@code MaxDirectMemorySize}. It costs
 * memory only as slots are used.
 *
 * <p><b>Threading:</b> for one thread at a time.
 *
 * <p>Source: QEMU, {@code migration/page_cache.c} (the slots, and the age of two rounds).
 */
public final class XbzrleCache implements AutoCloseable {

  /** How many rounds a page that is not asked for keeps its slot against others. */
  public static final int LIFETIME_ROUNDS = 2;

  private static final long MAX_CAPACITY_BYTES = 1L << 46;
  private static final int ENTRY_BYTES = 16; // address + 1, or 0 for none: 8; age: 4; nothing: 4
  private static final int MADV_DONTNEED = 4;
  private static final int MADV_FREE = 8;

  private final int pageSizeBytes;
  private final int pageShift;
  private final long slots;
  private final Arena arena;
  private final MemorySegment memory;

  /**
   * Reserves the memory.
   *
   * @param capacityBytes how many bytes of pages there may be; what is used is the largest power of
   *     two of pages within it, and at least one page
   * @param pageSizeBytes the size of every page, a power of two
   * @throws IllegalArgumentException if the capacity is not positive or more than 64 TiB, or the
   *     page size is none that a block may have
   */
  public XbzrleCache(long capacityBytes, int pageSizeBytes) {
    if (capacityBytes <= 0 || capacityBytes > MAX_CAPACITY_BYTES) {
      throw new IllegalArgumentException(
          "an XBZRLE cache has 1 to "
              + MAX_CAPACITY_BYTES
              + " bytes, but "
              + capacityBytes
              + " were asked for");
    }
    if (Integer.bitCount(pageSizeBytes) != 1
        || pageSizeBytes < RamBlockLayout.MIN_PAGE_SIZE_BYTES
        || pageSizeBytes > RamBlockLayout.MAX_PAGE_SIZE_BYTES) {
      throw new IllegalArgumentException(
          "no page of an XBZRLE cache has " + pageSizeBytes + " bytes");
    }
    this.pageSizeBytes = pageSizeBytes;
    this.pageShift = Integer.numberOfTrailingZeros(pageSizeBytes);
    this.slots = slots(capacityBytes, pageSizeBytes);
    this.arena = Arena.ofShared();
    try {
      this.memory = Linux.mapAnonymous(slots * (pageSizeBytes + ENTRY_BYTES), arena);
    } catch (RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /** {@return how many pages fit into so many bytes} */
  static long slots(long capacityBytes, int pageSizeBytes) {
    return Math.max(1, Long.highestOneBit(capacityBytes / pageSizeBytes));
  }

  /** {@return the size of every page in bytes} */
  public int pageSizeBytes() {
    return pageSizeBytes;
  }

  /** {@return how many pages fit} */
  public long slots() {
    return slots;
  }

  /** {@return how many bytes of pages fit} */
  public long capacityBytes() {
    return slots << pageShift;
  }

  /** {@return the memory that {@link #find} and {@link #claim} give offsets of} */
  public MemorySegment memory() {
    return memory;
  }

  private long slot(long address) {
    return address >>> pageShift & slots - 1;
  }

  private long entry(long slot) {
    return (slots << pageShift) + slot * ENTRY_BYTES;
  }

  /**
   * Looks for a page, and keeps it young if it is there.
   *
   * @param address the page's address
   * @param dirtySyncCount the number of the round
   * @return where in {@link #memory()} the page is, or -1
   */
  public long find(long address, int dirtySyncCount) {
    long slot = slot(address);
    long entry = entry(slot);
    if (memory.get(JAVA_LONG, entry) != address + 1) {
      return -1;
    }
    memory.set(JAVA_INT, entry + 8, dirtySyncCount);
    return slot << pageShift;
  }

  /**
   * Looks for a page, and leaves it as old as it is.
   *
   * @param address the page's address
   * @return where in {@link #memory()} the page is, or -1
   */
  public long peek(long address) {
    long slot = slot(address);
    return memory.get(JAVA_LONG, entry(slot)) == address + 1 ? slot << pageShift : -1;
  }

  /**
   * Takes the slot of a page for it; the caller then writes the page there.
   *
   * @param address the page's address
   * @param dirtySyncCount the number of the round
   * @return where in {@link #memory()} the page is to be written, or -1 if the slot holds another
   *     page that is not old enough
   */
  public long claim(long address, int dirtySyncCount) {
    long slot = slot(address);
    long entry = entry(slot);
    long owner = memory.get(JAVA_LONG, entry);
    if (owner != 0
        && owner != address + 1
        && (long) memory.get(JAVA_INT, entry + 8) + LIFETIME_ROUNDS > dirtySyncCount) {
      return -1;
    }
    memory.set(JAVA_LONG, entry, address + 1);
    memory.set(JAVA_INT, entry + 8, dirtySyncCount);
    return slot << pageShift;
  }

  /** Forgets a page, if it is there. */
  public void forget(long address) {
    long entry = entry(slot(address));
    if (memory.get(JAVA_LONG, entry) == address + 1) {
      memory.set(JAVA_LONG, entry, 0);
    }
  }

  /** Forgets all pages, and gives their memory back. */
  public void clear() {
    Linux.madvise(memory, MADV_DONTNEED);
  }

  /**
   * Forgets all pages, and keeps their memory for others, until the system wants it: whoever writes
   * there soon is spared the page faults of fresh memory.
   */
  void recycle() {
    long pages = capacityBytes();
    MemorySegment entries = memory.asSlice(pages);
    if (entries.address() % Linux.pageSizeBytes() == 0) {
      Linux.madvise(entries, MADV_DONTNEED); // costs what was used, and not what there is
    } else {
      entries.fill((byte) 0);
    }
    // No entry leads there any more, so it does not matter what the system makes of it.
    Linux.madvise(memory, MADV_FREE);
  }

  /** Gives the memory back. May be called again. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  @Override
  public String toString() {
    return "XbzrleCache[%d slots of %d bytes]".formatted(slots, pageSizeBytes);
  }
}
