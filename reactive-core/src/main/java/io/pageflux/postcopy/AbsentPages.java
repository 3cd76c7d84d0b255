package io.pageflux.postcopy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.ZeroTest;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * The destination of a post-copy: which pages are absent, who waits for them, what was asked for.
 *
 * <p>Used in this order: {@link #discard} by one thread; {@link #connect}; then everything else by
 * any thread, while pages arrive on two connections at once. A source that is lost may come back:
 * {@link #pause}, and {@link #connect} again, for which it is told what is {@linkplain
 * #missingPages() missing}.
 *
 * <p><b>Requests:</b> a page is asked for once, however many wait for it, and {@link
 * PostcopySpec#maxRequests()} pages at a time, in the order in which they were needed. A request is
 * settled when the source's copy of the page arrives, by whichever connection.
 *
 * <p><b>Memory bound:</b> 2 bits of heap per page of the memory, and about 300 bytes for each page
 * that somebody waits for or that is asked for.
 */
public final class AbsentPages {

  /** Takes requests to the source. Called from any thread, which must not be held up. */
  @FunctionalInterface
  public interface Requests {
    /** Asks for a page. */
    void request(int block, long page);
  }

  /** A page that somebody waits for, or that was asked for. */
  static final class PageWait {
    final int block;
    final long page;
    final long key;
    final long bornNanos = System.nanoTime();

    // Guarded by this object's monitor.
    private final List<PageWaiter> waiters = new ArrayList<>(2);
    private boolean over;

    PageWait(int block, long page, long key) {
      this.block = block;
      this.page = page;
      this.key = key;
    }

    synchronized boolean add(PageWaiter waiter) {
      if (over) {
        return false;
      }
      waiters.add(waiter);
      return true;
    }

    /** {@return whether nobody waits any more} */
    synchronized boolean remove(PageWaiter waiter) {
      waiters.remove(waiter);
      return waiters.isEmpty();
    }

    synchronized boolean isDeserted() {
      return over || waiters.isEmpty();
    }

    synchronized List<PageWaiter> end() {
      over = true;
      List<PageWaiter> all = List.copyOf(waiters);
      waiters.clear();
      return all;
    }
  }

  private final GuestMemory memory;
  private final PostcopySpec spec;
  private final PresenceMap map;
  private final long[] firstKeys;
  private final AtomicLong missing = new AtomicLong();

  private final ConcurrentHashMap<Long, PageWait> waits = new ConcurrentHashMap<>();
  // Asked for, and the source's copy has not come.
  private final ConcurrentHashMap<Long, PageWait> asked = new ConcurrentHashMap<>();

  // Guarded by this set's monitor: pages that wait for their turn to be asked for.
  private final Set<PageWait> queue = new LinkedHashSet<>();
  private int permits;
  private @Nullable Requests requests;

  private volatile @Nullable MigrationException lost;

  /** Whether a source that is lost is expected to come back. */
  private volatile boolean awaited;

  private final LatencyHistogram latency = new LatencyHistogram();
  private final AtomicLong requested = new AtomicLong();
  private final AtomicLong pushedPages = new AtomicLong();
  private final AtomicLong demandedPages = new AtomicLong();
  private final AtomicLong ownedPages = new AtomicLong();

  /** Pages that the guest is writing. Less only when the page is here, or missing again. */
  private final AtomicInteger owning = new AtomicInteger();

  private volatile Runnable onOwned = () -> {};
  private final AtomicLong droppedPages = new AtomicLong();

  /** Makes a state of a memory all of whose pages are there. */
  public AbsentPages(GuestMemory memory, PostcopySpec spec) {
    this.memory = memory;
    this.spec = spec;
    this.map = new PresenceMap(memory.layout());
    this.permits = spec.maxRequests();
    this.firstKeys = new long[memory.blocks().size()];
    for (int i = 1; i < firstKeys.length; i++) {
      firstKeys[i] = firstKeys[i - 1] + memory.block(i - 1).pageCount();
    }
  }

  private long key(int block, long page) {
    return firstKeys[block] + page;
  }

  /**
   * Says that pages are absent: what is in their place is out of date, or nothing. Before others
   * know of this state.
   *
   * @return how many of them were not said to be absent before
   */
  public long discard(int block, long from, long to) {
    long n = map.remove(block, from, to);
    missing.addAndGet(n);
    return n;
  }

  /**
   * Says by what way pages are asked for from now on, and asks for those once more that were asked
   * for and have not come. For what the guest has written itself meanwhile nobody answers any more.
   */
  public void connect(Requests way) {
    List<PageWait> again;
    synchronized (queue) {
      lost = null;
      requests = way;
      for (PageWait wait : asked.values()) {
        if (map.isPresent(wait.block, wait.page) && asked.remove(wait.key, wait)) {
          permits++;
        }
      }
      again = List.copyOf(asked.values());
    }
    requested.addAndGet(again.size());
    again.forEach(wait -> way.request(wait.block, wait.page));
    pump();
  }

  /**
   * Says that the source is lost, and expected to come back. Whoever waits goes on waiting, as long
   * as one access may take.
   */
  public void pause(MigrationException reason) {
    synchronized (queue) {
      requests = null;
      awaited = true; // In this order: who sees the reason sees this.
      lost = reason;
    }
  }

  /**
   * Says that the source is lost. What is there stays there; who waits learns of it, or goes on
   * waiting.
   */
  public void disconnect(MigrationException reason) {
    synchronized (queue) {
      requests = null;
      if (lost == null || awaited) {
        lost = reason;
      }
      awaited = false;
    }
    if (spec.onSourceLost() == SourceLost.FAIL) {
      failWaiters(reason);
    }
  }

  private boolean fails() {
    return !awaited && spec.onSourceLost() == SourceLost.FAIL;
  }

  private void failWaiters(MigrationException reason) {
    for (PageWait wait : waits.values()) {
      waits.remove(wait.key, wait);
      MigrationException failure = unreachable(wait.block, wait.page, reason);
      wait.end().forEach(waiter -> waiter.tell(failure));
    }
    synchronized (queue) {
      queue.removeIf(PageWait::isDeserted);
    }
  }

  private MigrationException unreachable(int block, long page, MigrationException reason) {
    return MigrationException.of(
        reason.kind(),
        "page %d of block '%s' is not here, and its source is lost: %s"
            .formatted(page, memory.block(block).name(), reason.getMessage()),
        reason);
  }

  /** {@return why the source is lost; null if it is not} */
  public @Nullable MigrationException lost() {
    return lost;
  }

  /** {@return how many pages are not here} */
  public long missing() {
    return missing.get();
  }

  /**
   * {@return the pages that are not here} Pages may come and be written meanwhile, and be among
   * them all the same; one that is not among them is here for good. A set of a bit for each page.
   */
  public MemoryPages missingPages() {
    MemoryPages pages = new MemoryPages(memory.layout());
    for (RamBlock block : memory.blocks()) {
      int b = block.index();
      for (long page = map.nextMissing(b, 0); page >= 0; page = map.nextMissing(b, page + 1)) {
        pages.of(b).add(page);
      }
    }
    return pages;
  }

  /** {@return whether a page is here} */
  public boolean isPresent(int block, long page) {
    return map.isPresent(block, page);
  }

  /** {@return the first page that is not here, for people; empty if all are} */
  public String firstMissing() {
    for (RamBlock block : memory.blocks()) {
      long page = map.nextMissing(block.index(), 0);
      if (page >= 0) {
        return "page %d of block '%s'".formatted(page, block.name());
      }
    }
    return "";
  }

  /**
   * Has somebody wait for pages, and asks for those that nobody has asked for.
   *
   * @param from the first page
   * @param to behind the last one
   */
  void await(int block, long from, long to, PageWaiter waiter) {
    for (long page = from; page < to && !waiter.isTold(); page++) {
      if (!map.isPresent(block, page)) {
        await(block, page, waiter);
      }
    }
    waiter.oneLess();
  }

  private void await(int block, long page, PageWaiter waiter) {
    long key = key(block, page);
    waiter.oneMore();
    PageWait wait;
    do {
      wait = waits.computeIfAbsent(key, k -> new PageWait(block, page, k));
    } while (!wait.add(waiter));
    waiter.waits.add(wait);
    MigrationException reason = lost;
    if (map.isPresent(block, page)) {
      // It came before this wait could be found, so nobody else ends it.
      over(wait);
    } else if (reason != null && fails()) {
      waits.remove(key, wait);
      MigrationException failure = unreachable(block, page, reason);
      wait.end().forEach(each -> each.tell(failure));
    } else if (map.ask(block, page)) {
      synchronized (queue) {
        queue.add(wait);
      }
      pump();
    } else if (map.state(block, page) == PresenceMap.State.REQUESTED && !asked.containsKey(key)) {
      // Asked for by somebody who gave up while it was waiting for its turn.
      synchronized (queue) {
        if (!asked.containsKey(key)) {
          queue.add(wait);
        }
      }
      pump();
    }
  }

  /** Asks for as many pages as may be asked for now. */
  private void pump() {
    while (true) {
      PageWait next;
      Requests way;
      synchronized (queue) {
        way = requests;
        if (way == null || permits == 0 || queue.isEmpty()) {
          return;
        }
        next = queue.iterator().next();
        queue.remove(next);
        if (next.isDeserted() || asked.putIfAbsent(next.key, next) != null) {
          continue;
        }
        permits--;
      }
      requested.incrementAndGet();
      way.request(next.block, next.page);
    }
  }

  /** Somebody waits no more. What was asked for comes all the same. */
  void giveUp(PageWaiter waiter) {
    for (PageWait wait : waiter.waits.toArray(PageWait[]::new)) {
      if (wait.remove(waiter)) {
        synchronized (queue) {
          queue.remove(wait);
        }
        forget(wait);
      }
    }
  }

  private void forget(PageWait wait) {
    waits.computeIfPresent(
        wait.key, (key, present) -> present == wait && wait.isDeserted() ? null : present);
  }

  private void over(PageWait wait) {
    waits.remove(wait.key, wait);
    wait.end().forEach(PageWaiter::oneLess);
  }

  /**
   * Puts pages of the source in their places, those that are still absent; others are dropped, for
   * the guest has written them.
   *
   * <p>If a page cannot be written (a file whose disk is full), it stays absent, and so do those
   * after it.
   *
   * @param batch plain pages, zero or raw; stays the caller's
   * @param onDemand whether they came because they were asked for
   * @throws MigrationException of kind {@code PROTOCOL}, if one came on demand that nobody has
   *     asked for
   */
  public void arrived(PageBatch batch, boolean onDemand) {
    if (batch.isCompressed()) {
      throw new IllegalStateException("decompress the batch first: " + batch);
    }
    RamBlock block = memory.block(batch.blockIndex());
    long offset = batch.payloadOffset();
    int placed = 0;
    int settled = 0;
    int taken = 0;
    Queue<PageWait> ended = new ArrayDeque<>();
    try {
      for (int i = 0; i < batch.size(); i++) {
        long page = batch.page(i);
        // Always looked up: a concurrent map's isEmpty() may be wrong while others add and remove.
        Long key = key(block.index(), page);
        PageWait request = asked.get(key);
        if (onDemand && request == null) {
          throw MigrationException.of(
              Kind.PROTOCOL,
              "page %d of block '%s' was sent on demand, but nobody asked for it"
                  .formatted(page, block.name()));
        }
        if (map.claim(block.index(), page)) {
          put(batch, i, offset, block);
          placed++;
          if (request != null) {
            latency.add(System.nanoTime() - request.bornNanos);
          }
          PageWait wait = waits.get(key);
          if (wait != null) {
            ended.add(wait);
          }
        }
        offset += batch.length(i);
        taken++;
        if (request != null && asked.remove(key, request)) {
          settled++;
        }
      }
    } finally {
      // What is here is here, whatever became of the rest.
      missing.addAndGet(-placed);
      (onDemand ? demandedPages : pushedPages).addAndGet(taken);
      droppedPages.addAndGet(taken - placed);
      ended.forEach(this::over);
      if (settled > 0) {
        synchronized (queue) {
          permits += settled;
        }
        pump();
      }
    }
  }

  /** Writes a page that was claimed. */
  private void put(PageBatch batch, int i, long offset, RamBlock block) {
    long page = batch.page(i);
    long at = block.pageOffset(page);
    boolean here = false;
    try {
      if (batch.kind(i) == PageKind.RAW) {
        MemorySegment.copy(batch.slab(), offset, block.segment(), at, block.pageSizeBytes());
        here = isThere(batch.slab(), offset, block, at);
      } else {
        if (!ZeroTest.isZero(block.segment(), at, block.pageSizeBytes())) {
          block.segment().asSlice(at, block.pageSizeBytes()).fill((byte) 0);
        }
        here = ZeroTest.isZero(block.segment(), at, block.pageSizeBytes());
      }
    } finally {
      if (!here) {
        map.unclaim(block.index(), page);
      }
    }
    requireHere(here, block, page);
    map.arrived(block.index(), page);
  }

  /**
   * Whether a page has been written. Where its file has no room, the JVM says so by an error that
   * comes some time after the write, and may find the page marked as present already.
   */
  private static boolean isThere(MemorySegment from, long fromOffset, RamBlock block, long at) {
    int bytes = block.pageSizeBytes();
    return MemorySegment.mismatch(
            from, fromOffset, fromOffset + bytes, block.segment(), at, at + bytes)
        < 0;
  }

  private static void requireHere(boolean here, RamBlock block, long page) {
    if (!here) {
      throw new InternalError(
          "page %d of RAM block '%s' cannot be written".formatted(page, block.name()));
    }
  }

  /**
   * Has the guest write a whole page that is absent.
   *
   * @return whether it was, and is written; not if it is here, or about to be
   */
  boolean own(int block, long page, MemorySegment from, long fromOffset) {
    if (map.isPresent(block, page)) {
      return false;
    }
    RamBlock to = memory.block(block);
    // Copied before the page is claimed: once it is, nothing may go wrong, for the source's copy
    // may have been dropped.
    byte[] bytes = new byte[to.pageSizeBytes()];
    MemorySegment.copy(from, ValueLayout.JAVA_BYTE, fromOffset, bytes, 0, bytes.length);
    owning.incrementAndGet();
    try {
      if (!map.claim(block, page)) {
        return false;
      }
      write(bytes, to, page);
      return true;
    } finally {
      if (owning.decrementAndGet() == 0 || missing.get() == 0) {
        onOwned.run();
      }
    }
  }

  /** Writes a page that the guest has claimed. */
  private void write(byte[] bytes, RamBlock to, long page) {
    int block = to.index();
    ownedPages.incrementAndGet(); // Before the page is here: who finds it finds it counted.
    long at = to.pageOffset(page);
    boolean here = false;
    try {
      MemorySegment.copy(bytes, 0, to.segment(), ValueLayout.JAVA_BYTE, at, bytes.length);
      here = isThere(MemorySegment.ofArray(bytes), 0, to, at);
    } finally {
      if (!here) {
        ownedPages.decrementAndGet();
        map.unclaim(block, page);
      }
    }
    requireHere(here, to, page);
    map.arrived(block, page);
    missing.decrementAndGet();
    PageWait wait = waits.get(key(block, page));
    if (wait != null) {
      over(wait);
    }
  }

  /**
   * {@return whether the guest is writing a page of which the source's copy may have been dropped
   * already} Ask before {@link #missing()}: what is missing then is not being written.
   */
  public boolean isOwning() {
    return owning.get() > 0;
  }

  /**
   * Says who learns that the guest writes no pages any more for the moment, or has written the last
   * one that was missing.
   *
   * @param learns called on the guest's thread
   */
  public void onOwned(Runnable learns) {
    onOwned = learns;
  }

  /** {@return how many pages the source has sent in the background} */
  public long pushedPages() {
    return pushedPages.get();
  }

  /** {@return how many pages the source has sent because they were asked for} */
  public long demandedPages() {
    return demandedPages.get();
  }

  /** {@return how many pages were asked for} */
  public long requestedPages() {
    return requested.get();
  }

  /** {@return how many absent pages the guest has written as a whole} */
  public long ownedPages() {
    return ownedPages.get();
  }

  /** {@return how many pages came that were here already and so were dropped} */
  public long droppedPages() {
    return droppedPages.get();
  }

  /** {@return how many pages somebody waits for; 0 when nothing is going on} */
  public int waitedFor() {
    return waits.size();
  }

  /** {@return how many requests have not been answered} */
  public int unanswered() {
    return asked.size();
  }

  /** {@return how long pages that were asked for took, from the first who needed them} */
  public LatencyHistogram latency() {
    return latency;
  }

  /**
   * The guest's memory is complete, or nobody will run it: those who still wait are let go.
   *
   * @param failure what they get; null if every page is here
   */
  public void end(@Nullable MigrationException failure) {
    synchronized (queue) {
      requests = null;
    }
    for (PageWait wait : waits.values()) {
      waits.remove(wait.key, wait);
      wait.end()
          .forEach(
              waiter -> {
                if (failure == null) {
                  waiter.oneLess();
                } else {
                  waiter.tell(failure);
                }
              });
    }
  }
}
