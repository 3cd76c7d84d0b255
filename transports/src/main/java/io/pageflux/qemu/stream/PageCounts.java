package io.pageflux.qemu.stream;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.PriorityQueue;
import org.jspecify.annotations.Nullable;

/**
 * How often each page of a block came.
 *
 * <p><b>Memory bound:</b> 4 bytes of heap for each page, allocated for up to 65,536 pages at a time
 * when one of them comes.
 */
final class PageCounts {

  private static final int CHUNK_BITS = 16;

  private final long pages;
  private final int[] @Nullable [] chunks;

  /**
   * Begins to count.
   *
   * @param pages how many the block has; 0 to count none
   */
  PageCounts(long pages) {
    this.pages = pages;
    chunks = new int[(int) ((pages + (1 << CHUNK_BITS) - 1) >>> CHUNK_BITS)][];
  }

  void count(long page) {
    if (chunks.length == 0) {
      return;
    }
    int index = (int) (page >>> CHUNK_BITS);
    int[] chunk = chunks[index];
    if (chunk == null) {
      chunk = new int[(int) Math.min(1 << CHUNK_BITS, pages - ((long) index << CHUNK_BITS))];
      chunks[index] = chunk;
    }
    chunk[(int) page & ((1 << CHUNK_BITS) - 1)]++;
  }

  /** The pages that came most often, and more than once; first the one with the most. */
  List<QemuStreamSummary.HotPage> hottest(int most) {
    // By count, then by page: the one to be dropped first is at the head.
    Comparator<QemuStreamSummary.HotPage> order =
        Comparator.comparingInt(QemuStreamSummary.HotPage::count)
            .thenComparing(QemuStreamSummary.HotPage::page, Comparator.reverseOrder());
    PriorityQueue<QemuStreamSummary.HotPage> best = new PriorityQueue<>(order);
    for (int c = 0; c < chunks.length; c++) {
      int[] chunk = chunks[c];
      for (int i = 0; chunk != null && i < chunk.length; i++) {
        if (chunk[i] > 1) {
          best.add(new QemuStreamSummary.HotPage(((long) c << CHUNK_BITS) + i, chunk[i]));
          if (best.size() > most) {
            best.remove();
          }
        }
      }
    }
    List<QemuStreamSummary.HotPage> sorted = new ArrayList<>(best);
    sorted.sort(order.reversed());
    return sorted;
  }
}
