package io.pageflux.qemu.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Which pages the destination does not have yet, and which one is next.
 *
 * <p>Requested pages come first, in the order of the requests; then, from the last requested page
 * on, all others, block after block and from the beginning again: what a guest touches next is
 * often what lies behind (as QEMU's own source does it). A host page goes out whole before anything
 * else does, for the destination places it as a whole. No page goes out twice: the destination
 * could not place it.
 *
 * <p><b>Memory bound:</b> one bit for each page, a second one for each host page that was
 * requested, and {@value #MAX_WAITING} requests of 48 bytes.
 *
 * <p><b>Threading:</b> not safe for use by two threads at once.
 */
final class PagesLeft {

  /** A guest's processors, each with what it may have under way at a time, do not ask for more. */
  static final int MAX_WAITING = 1 << 16;

  /** How often something may be asked for in vain, besides once for every page. */
  static final int MAX_VAIN = 1 << 16;

  /**
   * Pages to be sent, one behind the other.
   *
   * @param requested whether somebody waits for them
   * @param sinceNanos since when
   */
  record Run(int block, long from, long to, boolean requested, long sinceNanos) {
    long pages() {
      return to - from;
    }
  }

  private record Request(int block, long from, long to, long nanos) {}

  private final List<RamBlockLayout> blocks;
  private final List<PageSet> left = new ArrayList<>();
  private final int[] pagesPerHostPage;
  private final ArrayDeque<Request> waiting = new ArrayDeque<>();
  private long pagesLeft;
  private int nextBlock;
  private long nextPage;
  private long vainRequests;

  /**
   * Begins with all pages.
   *
   * @param hostPageBytes each block's host page at the destination, a multiple of its page
   */
  PagesLeft(RamLayout layout, int[] hostPageBytes) {
    this.blocks = layout.blocks();
    this.pagesPerHostPage = new int[hostPageBytes.length];
    for (int i = 0; i < blocks.size(); i++) {
      RamBlockLayout block = blocks.get(i);
      pagesPerHostPage[i] = hostPageBytes[i] / block.pageSizeBytes();
      PageSet pages = new PageSet(block.pageCount());
      pages.addAll();
      left.add(pages);
      pagesLeft += block.pageCount();
    }
  }

  /** {@return how many pages are left} */
  long pages() {
    return pagesLeft;
  }

  /** {@return how often pages were requested that had been sent already} */
  long vainRequests() {
    return vainRequests;
  }

  /**
   * Somebody waits for pages; they are within the block.
   *
   * @throws MigrationException of kind {@code PROTOCOL} if that cannot be anybody's need
   */
  void request(int block, long firstPage, long pages, long nanos) {
    long end = firstPage + pages;
    long needed = left.get(block).nextSet(firstPage);
    if (needed < 0 || needed >= end) {
      // It was on its way when they asked. That happens, but not without end.
      if (++vainRequests > MAX_VAIN + totalPages()) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "QEMU has requested pages that it was sent before %d times, and it has no more than %d"
                .formatted(vainRequests, totalPages()));
      }
      return;
    }
    if (waiting.size() == MAX_WAITING) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "QEMU has requested pages %d times, and takes none of them".formatted(MAX_WAITING));
    }
    waiting.add(new Request(block, firstPage, end, nanos));
  }

  private long totalPages() {
    return blocks.stream().mapToLong(RamBlockLayout::pageCount).sum();
  }

  /** {@return what was requested and is left; it does not count as left from here on} */
  @Nullable Run takeRequested() {
    while (true) {
      Request request = waiting.peek();
      if (request == null) {
        return null;
      }
      long from = left.get(request.block).nextSet(request.from);
      if (from < 0 || from >= request.to) {
        waiting.remove(); // the rest of it has gone out meanwhile
        continue;
      }
      Run run = take(request.block, from, 1, true, request.nanos);
      if (run.to >= request.to) {
        waiting.remove();
      }
      nextBlock = run.block;
      nextPage = run.to;
      return run;
    }
  }

  /**
   * {@return what is next when nobody waits, or null if nothing is left; it does not count as left
   * from here on}
   *
   * @param most how many pages, but for whole host pages
   */
  @Nullable Run takeNext(int most) {
    if (pagesLeft == 0) {
      return null;
    }
    while (true) {
      long from = left.get(nextBlock).nextSet(nextPage);
      if (from >= 0) {
        Run run = take(nextBlock, from, most, false, 0);
        nextPage = run.to;
        return run;
      }
      nextBlock = (nextBlock + 1) % blocks.size();
      nextPage = 0;
    }
  }

  /** Takes pages that are left, from the beginning of a host page to the end of one. */
  private Run take(int block, long first, int most, boolean requested, long sinceNanos) {
    PageSet pages = left.get(block);
    int perHostPage = pagesPerHostPage[block];
    long from = first / perHostPage * perHostPage;
    long whole = Math.max(perHostPage, most / perHostPage * perHostPage);
    long end = Math.min(from + whole, blocks.get(block).pageCount());
    long to = Math.min(end, from + perHostPage);
    while (to < end && pages.contains(to)) {
      to = Math.min(end, to + perHostPage);
    }
    for (long page = from; page < to; page++) {
      if (pages.remove(page)) {
        pagesLeft--;
      }
    }
    return new Run(block, from, to, requested, sinceNanos);
  }

  /**
   * Learns what of a block the destination has; whatever was sent besides is left again.
   *
   * @throws MigrationException of kind {@code PROTOCOL} if it claims to have a part of a host page
   */
  void arrived(int block, PageSet arrived) {
    PageSet pages = left.get(block);
    pagesLeft -= pages.cardinality();
    pages.clear();
    int perHostPage = pagesPerHostPage[block];
    for (long from = arrived.nextClear(0); from < arrived.pageCount(); ) {
      long next = arrived.nextSet(from);
      long to = next < 0 ? arrived.pageCount() : next;
      if (from % perHostPage != 0 || to % perHostPage != 0 && to < arrived.pageCount()) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "QEMU has received a part of a host page of %d pages, it says: pages %d to %d of RAM"
                    .formatted(perHostPage, from, to)
                + " block '%s' are missing".formatted(blocks.get(block).name()));
      }
      pagesLeft += pages.addRange(from, to);
      from = arrived.nextClear(to);
    }
  }
}
