package io.pageflux.postcopy;

import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;

/** Pages of a guest in units of the pages of a host that are larger. */
public final class HostPages {

  private HostPages() {}

  /** {@return how many pages of a block make one of the host's; 1 if they are not smaller} */
  public static int perHostPage(RamBlockLayout block, int hostPageBytes) {
    return Math.max(1, hostPageBytes / block.pageSizeBytes());
  }

  /**
   * Adds to a set what it takes that it has whole pages of the host only: a host cannot have half a
   * page. The end of a block ends its last one.
   *
   * @param hostPageBytes the host's page size, a power of two
   */
  public static void expand(MemoryPages pages, int hostPageBytes) {
    for (int b = 0; b < pages.layout().blocks().size(); b++) {
      RamBlockLayout block = pages.layout().blocks().get(b);
      int unit = perHostPage(block, hostPageBytes);
      if (unit > 1) {
        expand(pages.of(b), unit);
      }
    }
  }

  private static void expand(PageSet set, int unit) {
    for (long page = set.nextSet(0); page >= 0; ) {
      long from = page / unit * unit;
      long to = Math.min(set.pageCount(), from + unit);
      set.addRange(from, to);
      page = set.nextSet(to);
    }
  }
}
