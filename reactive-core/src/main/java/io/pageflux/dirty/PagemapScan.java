package io.pageflux.dirty;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.pageflux.internal.Linux;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Asks the kernel which pages of a range were written, and has it write-protect them again in the
 * same call: {@code PAGEMAP_SCAN} of {@code /proc/self/pagemap}, Linux 6.7 or later.
 *
 * <p>Finding a written page and protecting it is one step under the page table's lock, and the
 * processors' translations are flushed before the call returns. So a write is either before the
 * step, and the page is reported and its bytes are there for a copy that follows; or it is after
 * it, faults, and is reported the next time.
 *
 * <p>Constants and layouts are those of {@code linux/fs.h}. Memory: the regions' buffer, outside
 * the heap, allocated once.
 */
final class PagemapScan implements AutoCloseable {

  /** Takes one region. */
  @FunctionalInterface
  interface RegionVisitor {
    /** Takes a region's first address and the address behind it. {@return a number to sum up} */
    long visit(long start, long end);
  }

  private static final long PAGEMAP_SCAN = 0xC0606610L;
  private static final long PAGE_IS_WRITTEN = 2;
  // Without CHECK_WPASYNC a range that nobody watches has no region, as if it were clean; with it,
  // such a range is an error.
  private static final long WP_MATCHING_CHECK_WPASYNC = 1 | 2;

  private static final long ARGUMENT_BYTES = 96;
  private static final long START = 16;
  private static final long END = 24;
  private static final long WALK_END = 32;
  private static final long VEC = 40;
  private static final long VEC_LEN = 48;
  private static final long CATEGORY_MASK = 72;
  private static final long RETURN_MASK = 88;
  private static final long REGION_BYTES = 24;

  private final Arena arena;
  private final int fd;
  private final int capacity;
  private final MemorySegment argument;
  private final MemorySegment regions;

  /**
   * Opens the page map of this process.
   *
   * @param capacity how many regions one call may report, each of 24 bytes
   * @throws io.pageflux.internal.ErrnoException if it cannot be opened
   */
  PagemapScan(int capacity) {
    this.fd = Linux.open("/proc/self/pagemap", Linux.O_RDONLY | Linux.O_CLOEXEC);
    this.capacity = capacity;
    this.arena = Arena.ofShared();
    this.argument = arena.allocate(ARGUMENT_BYTES, 8);
    this.regions = arena.allocate(capacity * REGION_BYTES, 8);
    argument.set(JAVA_LONG, 0, ARGUMENT_BYTES);
    argument.set(JAVA_LONG, 8, WP_MATCHING_CHECK_WPASYNC);
    argument.set(JAVA_LONG, CATEGORY_MASK, PAGE_IS_WRITTEN);
    // Nothing else is returned, so that all neighbouring written pages are one region.
    argument.set(JAVA_LONG, RETURN_MASK, PAGE_IS_WRITTEN);
  }

  /** Protects every page of a range that is not protected; untouched pages count as written. */
  void protect(long start, long end) {
    scan(start, end, 0, 0);
  }

  /**
   * Visits every region of pages in a range that were written since the range was protected or
   * visited last, in ascending order, and protects them again.
   *
   * @return the sum of what the visitor returned
   * @throws io.pageflux.internal.ErrnoException if the range is not, or no longer, watched ({@code
   *     EPERM}); which pages have been protected by then is not known
   */
  long visitWritten(long start, long end, RegionVisitor visitor) {
    long sum = 0;
    for (long from = start; from < end; ) {
      int found = scan(from, end, regions.address(), capacity);
      long lastEnd = from;
      for (int i = 0; i < found; i++) {
        long regionStart = regions.get(JAVA_LONG, i * REGION_BYTES);
        lastEnd = regions.get(JAVA_LONG, i * REGION_BYTES + 8);
        sum += visitor.visit(regionStart, lastEnd);
      }
      from = resumeAt(found, capacity, argument.get(JAVA_LONG, WALK_END), lastEnd, end);
    }
    return sum;
  }

  /**
   * {@return where the next call begins, {@code end} if there is none}
   *
   * <p>The kernel says in {@code walk_end} how far it came, but only truly if it stopped because
   * the buffer was full. It gathers regions in batches of 512, notes {@code walk_end} when a batch
   * is full, and does not correct it if it then reaches the end of the range: the note may lie
   * before regions that it reported afterwards. To go on from there would walk them again and
   * report again what was written meanwhile, without an end if the guest is fast. So a buffer that
   * is not full means that the range is done, and a full one that the next call begins behind all
   * that is known to be done.
   */
  static long resumeAt(int found, int capacity, long walkEnd, long lastRegionEnd, long end) {
    return found < capacity ? end : Math.max(walkEnd, lastRegionEnd);
  }

  private int scan(long start, long end, long vec, long vecLen) {
    argument.set(JAVA_LONG, START, start);
    argument.set(JAVA_LONG, END, end);
    argument.set(JAVA_LONG, WALK_END, 0);
    argument.set(JAVA_LONG, VEC, vec);
    argument.set(JAVA_LONG, VEC_LEN, vecLen);
    return Linux.ioctl(fd, PAGEMAP_SCAN, argument, "PAGEMAP_SCAN");
  }

  @Override
  public void close() {
    Linux.close(fd);
    arena.close();
  }
}
