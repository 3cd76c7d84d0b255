package io.pageflux.prediction;

import io.pageflux.MigrationException;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * Watches a guest from tick to tick of a clock that the caller has. For one thread.
 *
 * <p>The first tick ends a period that shows which pages are dirty at all; then copies are taken.
 * Each tick from then on ends a period of the history; the copies are compared after 1, 2, 4, 8, …
 * of them. The time that this takes belongs to no period.
 */
final class GuestWatch implements AutoCloseable {

  /** Fewer dirty pages of a sample teach nothing. */
  private static final int LESSON_PAGES = 8;

  private static final int FIRST_BATCHES = 64;

  private final ObservationSpec spec;
  private final DirtyTracker tracker;
  private final PageProbe probe;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment page;
  private final SplittableRandom random;
  private final MemoryPages dirty;
  private final MemoryPages since;
  private final DirtyHistory history = new DirtyHistory();
  private final List<PageLesson> lessons = new ArrayList<>();
  private PageProbe.Count[] first = new PageProbe.Count[0];
  private @Nullable PageSample sample;
  private long sampledNanos;
  private long periodNanos;
  private long watchedNanos;
  private long collectingNanos = Long.MAX_VALUE;
  private int nextLesson = 1;
  private Processors processors = Processors.now();
  private long beganNanos;
  private long ownNanos;

  private GuestWatch(ObservationSpec spec, DirtyTracker tracker) {
    this.spec = spec;
    this.tracker = tracker;
    this.random = new SplittableRandom(spec.seed());
    this.dirty = new MemoryPages(spec.memory().layout());
    this.since = new MemoryPages(spec.memory().layout());
    this.page = arena.allocate(spec.memory().layout().largestPageSizeBytes(), 8);
    this.probe = new PageProbe(spec);
  }

  /** Takes what it needs, or nothing. */
  static GuestWatch open(ObservationSpec spec) {
    DirtyTracker tracker = spec.tracker().apply(spec.memory());
    try {
      return new GuestWatch(spec, tracker);
    } catch (RuntimeException | Error e) {
      tracker.close();
      throw e;
    }
  }

  /** Begins. {@return how long a period should be at the least, in nanoseconds} */
  long begin() {
    first = probe.first(random, FIRST_BATCHES);
    tracker.start();
    if (!tracker.collectsWithinRounds()) {
      // It compares with what it was told of, and does not know of a page before that.
      dirty.addAll();
      tellOfCopies();
    }
    long before = System.nanoTime();
    collect();
    return 4 * (System.nanoTime() - before);
  }

  private void collect() {
    dirty.clear();
    long before = System.nanoTime();
    tracker.collect(dirty);
    collectingNanos = Math.min(collectingNanos, Math.max(1, System.nanoTime() - before));
    since.addAll(dirty);
    if (!tracker.collectsWithinRounds()) {
      tellOfCopies();
    }
  }

  private void tellOfCopies() {
    for (RamBlock block : spec.memory().blocks()) {
      var set = dirty.of(block.index());
      for (long p = set.nextSet(0); p >= 0; p = set.nextSet(p + 1)) {
        MemorySegment.copy(block.segment(), block.pageOffset(p), page, 0, block.pageSizeBytes());
        tracker.copied(block.index(), p, page, 0);
      }
    }
  }

  /**
   * A period ends.
   *
   * @param clock tells nanoseconds
   * @return whether there is room for more
   */
  boolean tick(java.util.function.LongSupplier clock) {
    long before = clock.getAsLong();
    boolean room = periodEnds(clock);
    ownNanos += clock.getAsLong() - before;
    return room;
  }

  private boolean periodEnds(java.util.function.LongSupplier clock) {
    collect();
    long now = clock.getAsLong();
    PageSample taken = sample;
    if (taken == null) {
      sample = new PageSample(probe, spec, dirty, random);
      collect();
      since.clear();
      sampledNanos = clock.getAsLong();
      periodNanos = sampledNanos;
      // What it did until now, it does once only.
      processors = Processors.now();
      beganNanos = sampledNanos;
      ownNanos = -(sampledNanos - now);
      return true;
    }
    history.add(dirty);
    watchedNanos += now - periodNanos;
    periodNanos = now;
    if (history.periods() == nextLesson) {
      nextLesson *= 2;
      learn(taken, now);
      collect();
      periodNanos = clock.getAsLong();
    }
    return !history.isFull();
  }

  private double processorsLeft(long now) {
    double ownPart = (double) ownNanos / Math.max(1, now - beganNanos);
    return Processors.now().left(processors, ownPart, Runtime.getRuntime().availableProcessors());
  }

  private void learn(PageSample taken, long now) {
    PageLesson lesson = taken.learn(since, Math.max(1, now - sampledNanos) / 1e9);
    if (lesson.sampled() >= LESSON_PAGES) {
      lessons.add(lesson);
    }
  }

  /** Ends. {@return what was seen} */
  GuestProfile profile(java.util.function.LongSupplier clock) {
    PageSample taken = sample;
    if (taken == null || history.periods() == 0 || watchedNanos <= 0) {
      throw MigrationException.of(
          MigrationException.Kind.TRACKING,
          "the guest was watched for too short a time: collecting its dirty pages takes "
              + collectingNanos / 1_000_000
              + " ms, so give it more");
    }
    learn(taken, clock.getAsLong());
    PageProbe.Count all = new PageProbe.Count();
    for (PageProbe.Count count : first) {
      all.pages += count.pages;
      all.zero += count.zero;
      all.bytes += count.bytes;
      all.encodeNanos += count.encodeNanos;
      all.compressNanos += count.compressNanos;
    }
    double perPage = all.perPage(all.bytes);
    XbzrleSpec xbzrle = spec.xbzrle();
    int pageSize = spec.memory().layout().largestPageSizeBytes();
    return new GuestProfile(
        probe.totalPages(),
        pageSize,
        tracker.name(),
        new PageLesson(0, (int) all.pages, 1 - all.perPage(all.zero), perPage, perPage),
        error(perPage),
        lessons,
        CodecTimes.of(List.of(first), spec.compression(), processorsLeft(clock.getAsLong())),
        collectingNanos / 1e9,
        xbzrle == null ? 0 : Long.highestOneBit(Math.max(1, xbzrle.cacheBytes() / pageSize)),
        history.curve(watchedNanos / 1e9 / history.periods(), probe.totalPages()));
  }

  /** Of a mean of so many batches; there are no more of them than the memory has. */
  private double error(double perPage) {
    double squares = 0;
    for (PageProbe.Count count : first) {
      double off = count.perPage(count.bytes) - perPage;
      squares += off * off;
    }
    double error = Math.sqrt(squares / (first.length - 1.0) / first.length);
    return perPage <= 0 ? 0 : error / perPage;
  }

  @Override
  public void close() {
    try {
      tracker.close();
    } finally {
      if (sample != null) {
        sample.close();
      }
      probe.close();
      arena.close();
    }
  }
}
