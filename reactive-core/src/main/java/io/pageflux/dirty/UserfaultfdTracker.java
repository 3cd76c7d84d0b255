package io.pageflux.dirty;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.ErrnoException;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlock;
import org.jspecify.annotations.Nullable;

/**
 * Has the kernel tell which pages this process wrote: write-protection by userfaultfd in
 * asynchronous mode, and {@code PAGEMAP_SCAN}.
 *
 * <p>A first write to a protected page costs the writer a page fault of 1 to 3 microseconds and
 * never blocks. Seen are writes through this process's mapping: by its threads, and by the kernel
 * for it. Not seen are writes by other processes, through another mapping, by {@code pwrite} to the
 * file behind it, and by devices.
 *
 * <p>What is tracked are the machine's pages. A smaller guest page is reported with all that share
 * its machine page, a larger one if any of its machine pages was written.
 *
 * <p>The methods exclude one another: a descriptor that is closed while a scan uses it may be
 * somebody else's by the time of the next call.
 *
 * <p><b>Memory:</b> 24 KiB outside the heap. The kernel needs a page table entry, 8 bytes, for each
 * page also of memory that was never touched: 2 MiB for 1 GiB.
 */
final class UserfaultfdTracker implements DirtyTracker {

  static final String NAME = "userfaultfd";

  private static final int REGIONS_PER_SCAN = 1024;

  /**
   * Measured for a gigabyte: 0.5 ms if it is clean, 13 to 29 ms if every page was written, and 43
   * to 85 ms in the worst case, every other page. So a quarter of it takes about 20 ms at the most.
   */
  private static final long SLICE_BYTES = 256L << 20;

  private record Watch(Userfaultfd userfaultfd, PagemapScan scan) {}

  private final GuestMemory memory;
  private final int regionsPerScan;
  private final long machinePageBytes;
  private @Nullable Watch watch;

  UserfaultfdTracker(GuestMemory memory) {
    this(memory, REGIONS_PER_SCAN);
  }

  UserfaultfdTracker(GuestMemory memory, int regionsPerScan) {
    this.memory = memory;
    this.regionsPerScan = regionsPerScan;
    this.machinePageBytes = Linux.pageSizeBytes();
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean collectsWithinRounds() {
    return true;
  }

  private long mappedBytes(RamBlock block) {
    return block.sizeBytes() + machinePageBytes - 1 & -machinePageBytes;
  }

  @Override
  public synchronized void start() {
    close();
    Preconditions.requireOpen(memory);
    Userfaultfd userfaultfd = Userfaultfd.open();
    PagemapScan scan;
    try {
      scan = new PagemapScan(regionsPerScan);
    } catch (ErrnoException e) {
      userfaultfd.close();
      throw MigrationException.of(
          Kind.TRACKING,
          "userfaultfd needs the page map: " + e.getMessage() + " (is /proc mounted?)",
          e);
    }
    watch = new Watch(userfaultfd, scan);
    try {
      for (RamBlock block : memory.blocks()) {
        long start = block.segment().address();
        userfaultfd.register(start, mappedBytes(block), "RAM block '" + block.name() + "'");
        protect(scan, block);
      }
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private void protect(PagemapScan scan, RamBlock block) {
    long start = block.segment().address();
    try {
      scan.protect(start, start + mappedBytes(block));
    } catch (ErrnoException e) {
      throw MigrationException.of(
          Kind.TRACKING,
          "cannot write-protect RAM block '" + block.name() + "': " + e.getMessage(),
          e);
    }
  }

  @Override
  public synchronized long collect(MemoryPages into) {
    Preconditions.requireSameLayout(memory, into);
    Watch current = watch;
    if (current == null) {
      throw Preconditions.notStarted(NAME);
    }
    Preconditions.requireOpen(memory);
    long added = 0;
    for (RamBlock block : memory.blocks()) {
      added += collect(current.scan(), block, into.of(block.index()), 0, block.pageCount());
    }
    // Memory that is unmapped under the scan has no pages and so looks clean.
    Preconditions.requireOpen(memory);
    return added;
  }

  @Override
  public long sliceBytes() {
    return SLICE_BYTES;
  }

  @Override
  public synchronized long collect(MemoryPages into, int blockIndex, long from, long to) {
    Preconditions.requireSameLayout(memory, into);
    Watch current = watch;
    if (current == null) {
      throw Preconditions.notStarted(NAME);
    }
    Preconditions.requireOpen(memory);
    RamBlock block = memory.block(blockIndex);
    long added = collect(current.scan(), block, into.of(blockIndex), from, to);
    Preconditions.requireOpen(memory);
    return added;
  }

  /** Of machine pages that only a part of is asked for, all is looked at. */
  private long collect(PagemapScan scan, RamBlock block, PageSet into, long first, long last) {
    long base = block.segment().address();
    long pageBytes = block.pageSizeBytes();
    try {
      return scan.visitWritten(
          base + (block.pageOffset(first) & -machinePageBytes),
          base + (block.pageOffset(last) + machinePageBytes - 1 & -machinePageBytes),
          (start, end) -> {
            long from = (start - base) / pageBytes;
            long to = Math.min((end - base + pageBytes - 1) / pageBytes, block.pageCount());
            return into.addRange(from, to);
          });
    } catch (ErrnoException e) {
      // The failed scan may have protected pages again without having said which: what was written
      // is no longer known, and must not look clean.
      close();
      throw MigrationException.of(
          Kind.TRACKING,
          "RAM block '"
              + block.name()
              + "' can no longer be tracked by userfaultfd: "
              + e.getMessage()
              + " (was a part of it mapped anew?)",
          e);
    }
  }

  @Override
  public synchronized void close() {
    Watch current = watch;
    if (current == null) {
      return;
    }
    watch = null;
    if (memory.isOpen()) {
      // Closing would do, were it the only descriptor; but a child process may hold a copy of it
      // for the moment between fork and exec, and a block can be watched only once.
      for (RamBlock block : memory.blocks()) {
        current.userfaultfd().unregister(block.segment().address(), mappedBytes(block));
      }
    }
    current.userfaultfd().close();
    current.scan().close();
  }
}
