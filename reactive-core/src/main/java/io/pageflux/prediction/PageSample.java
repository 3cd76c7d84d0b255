package io.pageflux.prediction;

import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.function.LongPredicate;

/**
 * Copies of some pages, to see what becomes of them: half of the room for pages that were dirty
 * lately, so that there are some of them however few they are, half for any others. Both halves
 * count by what they stand for.
 *
 * <p>Memory: {@code sampleBytes} outside the heap and 8 bytes of heap for each page of it.
 */
final class PageSample implements AutoCloseable {

  private final PageProbe probe;
  private final boolean deltas;
  private final long slotBytes;
  private final Arena arena = Arena.ofShared();
  private final Half lately;
  private final Half others;

  /** Pages, and their copies. */
  private final class Half {
    final long[] pages;
    final MemorySegment copies;
    final double standsFor;

    Half(long[] pages, double standsFor) {
      this.pages = pages;
      this.standsFor = standsFor;
      this.copies = arena.allocate(Math.max(1, pages.length * slotBytes), 8);
      for (int i = 0; i < pages.length; i++) {
        probe.copy(pages[i], copies, i * slotBytes);
      }
    }
  }

  /**
   * Takes copies.
   *
   * @param dirty what was dirty lately
   */
  PageSample(PageProbe probe, ObservationSpec spec, MemoryPages dirty, SplittableRandom random) {
    this.probe = probe;
    this.deltas = spec.xbzrle() != null;
    this.slotBytes = dirty.layout().largestPageSizeBytes();
    int room = (int) Math.max(1, spec.sampleBytes() / slotBytes / 2);
    long count = dirty.cardinality();
    this.lately = new Half(someOf(dirty, count, room, random), count);
    long total = probe.totalPages();
    long[] any =
        room >= total
            ? java.util.stream.LongStream.range(0, total).toArray()
            : random.longs(room, 0, total).sorted().distinct().toArray();
    LongPredicate wasDirty = in(dirty);
    this.others =
        new Half(Arrays.stream(any).filter(p -> !wasDirty.test(p)).toArray(), total - count);
  }

  private static long[] someOf(MemoryPages dirty, long count, int most, SplittableRandom random) {
    long[] pages = new long[(int) Math.min(most, count)];
    int taken = 0;
    long left = count;
    long start = 0;
    for (int b = 0; b < dirty.layout().blocks().size(); b++) {
      var set = dirty.of(b);
      for (long p = set.nextSet(0); p >= 0 && taken < pages.length; p = set.nextSet(p + 1)) {
        // Each of those left has the same chance (Knuth's selection sampling).
        if (random.nextDouble() * left < pages.length - taken) {
          pages[taken++] = start + p;
        }
        left--;
      }
      start += set.pageCount();
    }
    return Arrays.copyOf(pages, taken);
  }

  private LongPredicate in(MemoryPages set) {
    return page -> {
      RamBlock block = probe.blockOf(page);
      return set.of(block.index()).contains(probe.inBlock(page, block));
    };
  }

  /**
   * {@return what those pages become that were dirtied since the copies; with {@code sampled} 0 if
   * none was}
   */
  PageLesson learn(MemoryPages since, double seconds) {
    double dirtyAll = 0;
    int sampled = 0;
    double content = 0;
    double raw = 0;
    double delta = 0;
    for (Half half : new Half[] {lately, others}) {
      PageProbe.Count whole = count(half, since, false);
      if (whole.pages == 0) {
        continue;
      }
      PageProbe.Count changed = deltas ? count(half, since, true) : whole;
      double weight = half.standsFor * whole.pages / half.pages.length;
      dirtyAll += weight;
      sampled += (int) whole.pages;
      content += weight * (1 - whole.perPage(whole.zero));
      raw += weight * whole.perPage(whole.bytes);
      delta += weight * Math.min(whole.perPage(whole.bytes), changed.perPage(changed.bytes));
    }
    double all = Math.max(dirtyAll, Double.MIN_NORMAL);
    return new PageLesson(seconds, sampled, content / all, raw / all, delta / all);
  }

  private PageProbe.Count count(Half half, MemoryPages since, boolean asDeltas) {
    PageProbe.Count count = new PageProbe.Count();
    probe.count(
        half.pages,
        0,
        half.pages.length,
        in(since),
        asDeltas ? half.copies : null,
        slotBytes,
        count);
    return count;
  }

  @Override
  public void close() {
    arena.close();
  }
}
