package io.pageflux.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamLayout;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;

/**
 * The pages that a post-copy's source has yet to send: pushed in the background from a cursor on,
 * or taken because somebody waits for them.
 *
 * <p>Each page is given out once; {@linkplain #restarted again} only to a destination that has lost
 * its connection, and then whatever it still lacks. After a request the background goes on right
 * behind the page that was asked for, since whoever needed that one is likely to need the next; at
 * the end of the memory it begins again, until nothing is left.
 *
 * <p>Methods may be called from any thread. <b>Memory bound:</b> two bits per page of heap, besides
 * the set that it was given; one more while it is restarted.
 */
public final class OwedPages {

  private final RamLayout layout;
  private final MemoryPages owed;
  private final MemoryPages absent;
  private final MemoryPages requested;
  private final long absentPages;

  /** How many pages the destination has said to have that were never given out. */
  private final long written;

  private long left;
  private long picked;
  private long taken;
  private int cursorBlock;
  private long cursorPage;

  /**
   * Makes the task of a source.
   *
   * @param owed what the destination lacks; from here on this object's
   */
  public OwedPages(MemoryPages owed) {
    this(owed, copy(owed), 0);
  }

  private OwedPages(MemoryPages owed, MemoryPages absent, long written) {
    this.layout = owed.layout();
    this.owed = owed;
    this.absent = absent;
    this.absentPages = absent.cardinality();
    this.requested = new MemoryPages(layout);
    this.left = owed.cardinality();
    this.written = written;
  }

  private static MemoryPages copy(MemoryPages pages) {
    MemoryPages copy = new MemoryPages(pages.layout());
    copy.addAll(pages);
    return copy;
  }

  /**
   * What is to be sent by another connection, the last one being lost. This object is of no use
   * from then on, but whoever still has it does no harm.
   *
   * @param missing what the destination lacks now; from here on the new object's
   * @param owned how many absent pages the guest has written itself, in all, as the destination
   *     says
   * @throws MigrationException of kind {@code PROTOCOL}, if it lacks what it never lacked, or has
   *     more than it can have
   */
  public synchronized OwedPages restarted(MemoryPages missing, long owned) {
    long unsent = written;
    for (int b = 0; b < layout.blocks().size(); b++) {
      PageSet lacks = missing.of(b);
      for (long page = lacks.nextSet(0); page >= 0; page = lacks.nextSet(page + 1)) {
        if (!absent.of(b).contains(page)) {
          throw claims("to lack page %d of block %d, which was there at the switch", page, b);
        }
      }
      PageSet here = owed.of(b);
      for (long page = here.nextSet(0); page >= 0; page = here.nextSet(page + 1)) {
        if (!lacks.contains(page) && ++unsent > owned) {
          throw claims("to have page %d of block %d, which was not sent", page, b);
        }
      }
    }
    return new OwedPages(missing, absent, unsent);
  }

  private static MigrationException claims(String what, long page, int block) {
    return MigrationException.of(
        Kind.PROTOCOL, "the destination claims " + what.formatted(page, block));
  }

  /** {@return how many pages the destination lacked at the switch} */
  public long absentPages() {
    return absentPages;
  }

  /** {@return how many pages have not been given out} */
  public synchronized long left() {
    return left;
  }

  /** {@return how many pages were given to the background} */
  public synchronized long picked() {
    return picked;
  }

  /** {@return how many pages were given out because they were asked for} */
  public synchronized long taken() {
    return taken;
  }

  /**
   * Checks a request. One for a page that was pushed meanwhile is right: the two have met on the
   * way.
   *
   * @throws MigrationException of kind {@code PROTOCOL}, if it is outside the layout, for a page
   *     that the destination does not lack, or for one that was asked for before
   */
  public synchronized void requireRequestable(long block, long first, long count) {
    if (block < 0 || block >= layout.blocks().size()) {
      throw refused("pages of block %d of a layout of %d".formatted(block, layout.blocks().size()));
    }
    int index = (int) block;
    long pages = layout.blocks().get(index).pageCount();
    if (first < 0 || count < 1 || count > pages || first > pages - count) {
      throw refused(
          "%d pages from page %d of block %d, which has %d".formatted(count, first, block, pages));
    }
    for (long page = first; page < first + count; page++) {
      if (!absent.of(index).contains(page)) {
        throw refused("page %d of block %d, which it does not lack".formatted(page, block));
      }
      if (!requested.of(index).add(page)) {
        throw refused("page %d of block %d a second time".formatted(page, block));
      }
    }
  }

  private static MigrationException refused(String what) {
    return MigrationException.of(Kind.PROTOCOL, "the destination requests " + what);
  }

  /**
   * Takes a page that was asked for; the background goes on behind it.
   *
   * @return whether it is the caller's to send; not if it was sent before
   */
  public synchronized boolean take(int block, long page) {
    cursorBlock = block;
    cursorPage = page + 1;
    if (!owed.of(block).remove(page)) {
      return false;
    }
    left--;
    taken++;
    return true;
  }

  /**
   * Some pages of one block that are the caller's to send.
   *
   * @param block the block
   * @param pages the pages, in ascending order
   */
  public record Picked(int block, long[] pages) {}

  /**
   * Takes the next pages for the background.
   *
   * @param mostPages how many at the most, of a block
   * @return the pages; none if nothing is left
   */
  public synchronized Picked pick(IntUnaryOperator mostPages) {
    long page = next();
    if (page < 0) {
      return new Picked(0, new long[0]);
    }
    PageSet set = owed.of(cursorBlock);
    long[] found = new long[mostPages.applyAsInt(cursorBlock)];
    int n = 0;
    while (page >= 0 && n < found.length) {
      set.remove(page);
      found[n++] = page;
      page = set.nextSet(page + 1);
    }
    left -= n;
    picked += n;
    cursorPage = found[n - 1] + 1;
    return new Picked(cursorBlock, Arrays.copyOf(found, n));
  }

  /** The next page from the cursor on, whose block becomes the cursor's; -1 if there is none. */
  private long next() {
    if (left == 0) {
      return -1;
    }
    int blocks = layout.blocks().size();
    // Once around, and the rest of the block where it began.
    for (int i = 0; i <= blocks; i++) {
      long page = owed.of(cursorBlock).nextSet(cursorPage);
      if (page >= 0) {
        return page;
      }
      cursorBlock = (cursorBlock + 1) % blocks;
      cursorPage = 0;
    }
    return -1;
  }
}
