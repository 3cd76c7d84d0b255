package io.pageflux.codec;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.PageRewriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Makes deltas of pages that were sent before, for one migration.
 *
 * <p>What it compares with is what was <em>sent</em>, taken from the batches themselves: guest
 * memory may have changed since. So every batch that this encoder has seen must reach the
 * destination, in the order in which it saw them; if one was lost, go on with a new encoder, or
 * begin with a bulk round again.
 *
 * <p>Pages of one size only are cached and encoded: of the sizes that {@link Xbzrle} can encode,
 * the one that the layout has most bytes of. Other blocks' pages pass as they are.
 *
 * <p><b>Memory bound:</b> the cache of {@link XbzrleSpec#cacheBytes()}, 16 bytes for each page that
 * it holds, and one page, all outside the heap; see {@link XbzrleCache}.
 *
 * <p><b>Threading:</b> batches are for one thread at a time, {@link #counters()} and {@link
 * #endPeriod} for any.
 */
public final class XbzrleEncoder implements AutoCloseable {

  /** What a delta needs on QEMU's wire besides its bytes: one byte of kind, two of length. */
  private static final int HEADER_BYTES = 3;

  private final RamLayout layout;
  private final boolean fillInFirstRound;
  private final long[] blockStarts;
  private final int pageSizeBytes;
  private final int largestDeltaBytes;
  private final XbzrleCaches caches;
  private final @Nullable XbzrleCache cache; // null: nothing can be encoded
  private boolean closed; // guarded by this
  private final MemorySegment delta;
  private final XbzrleMeter meter;

  private int dirtySyncCount = -1;
  private boolean bulk;
  private boolean lastStage;

  // What the current batch adds to the counters.
  private long pages;
  private long bytes;
  private long misses;
  private long overflows;

  /**
   * Reserves the cache.
   *
   * @param layout the blocks of the guest
   * @param spec how to go about it
   */
  public XbzrleEncoder(RamLayout layout, XbzrleSpec spec) {
    this(layout, spec, closedCaches());
  }

  /**
   * Takes the cache's memory from others, and gives it back when closed.
   *
   * @param layout the blocks of the guest
   * @param spec how to go about it
   * @param caches where the memory is from
   */
  public XbzrleEncoder(RamLayout layout, XbzrleSpec spec, XbzrleCaches caches) {
    this.layout = layout;
    this.caches = caches;
    this.fillInFirstRound = spec.fillInFirstRound();
    this.blockStarts = new long[layout.blocks().size()];
    long start = 0;
    for (int i = 0; i < blockStarts.length; i++) {
      blockStarts[i] = start;
      start += layout.blocks().get(i).sizeBytes();
    }
    this.pageSizeBytes = pageSizeOf(layout);
    this.largestDeltaBytes = pageSizeBytes - pageSizeBytes / 8;
    this.cache = pageSizeBytes == 0 ? null : caches.take(spec.cacheBytes(), pageSizeBytes);
    this.delta = Arena.ofAuto().allocate(Math.max(1, pageSizeBytes));
    this.meter = new XbzrleMeter(cache == null ? 0 : cache.capacityBytes(), pageSizeBytes);
  }

  /** They keep nothing. */
  private static XbzrleCaches closedCaches() {
    XbzrleCaches none = new XbzrleCaches();
    none.close();
    return none;
  }

  private static int pageSizeOf(RamLayout layout) {
    Map<Integer, Long> bytes = new HashMap<>();
    for (RamBlockLayout block : layout.blocks()) {
      if (block.pageSizeBytes() <= Xbzrle.MAX_PAGE_BYTES) {
        bytes.merge(block.pageSizeBytes(), block.sizeBytes(), Long::sum);
      }
    }
    return bytes.entrySet().stream()
        .max(Map.Entry.comparingByValue())
        .map(Map.Entry::getKey)
        .orElse(0);
  }

  /**
   * {@return the size in bytes of the pages that are encoded, or 0 if the layout has only pages
   * that are too large}
   */
  public int pageSizeBytes() {
    return pageSizeBytes;
  }

  /**
   * {@return the longest delta in bytes that is sent} A page that takes more is sent raw: where
   * less than an eighth can be saved, it is not worth the destination's time. (QEMU sends deltas up
   * to the size of a page.)
   */
  public int largestDeltaBytes() {
    return largestDeltaBytes;
  }

  /**
   * Begins a round.
   *
   * <p>A bulk round forgets whatever was cached, since it may be the first one towards a new
   * destination. So does a round after a last stage, since what that one sent was not remembered.
   *
   * @param dirtySyncCount how often dirty pages were collected so far, never less than before
   * @param bulk whether this is the first round, which sends every page; nothing is encoded in it,
   *     and pages are only remembered, if the spec says so
   * @param lastStage whether the guest is paused and no round is to follow; then nothing is
   *     remembered any more
   */
  public synchronized void beginRound(int dirtySyncCount, boolean bulk, boolean lastStage) {
    if (dirtySyncCount < 0) {
      throw new IllegalArgumentException(
          "dirtySyncCount >= 0 required but it was " + dirtySyncCount);
    }
    if (cache != null && !closed && (bulk && this.dirtySyncCount >= 0 || this.lastStage)) {
      cache.clear();
    }
    this.dirtySyncCount = dirtySyncCount;
    this.bulk = bulk;
    this.lastStage = lastStage;
  }

  /**
   * Makes deltas of the raw pages of a batch where that pays, and takes those out of it that the
   * destination has already; the batch may be empty then.
   *
   * @throws IllegalStateException if no round has begun, or the batch is compressed or has deltas
   *     already, or this encoder is closed
   * @throws IllegalArgumentException if the batch is of no block of the layout
   */
  public synchronized void encode(PageBatch batch) {
    check(batch);
    if (cache == null || batch.pageSizeBytes() != pageSizeBytes || bulk && !fillInFirstRound) {
      return;
    }
    for (PageRewriter page = batch.rewrite(); page.next(); ) {
      long address = address(batch, page);
      if (page.kind() == PageKind.ZERO) {
        rememberZero(cache, address);
      } else if (page.kind() == PageKind.PLACED) {
        // The destination has other contents now than those that a delta would start from.
        cache.forget(address);
      } else {
        encode(cache, address, page);
      }
    }
    meter.add(pages, bytes, misses, overflows);
    pages = 0;
    bytes = 0;
    misses = 0;
    overflows = 0;
  }

  private void check(PageBatch batch) {
    // With the monitor: the memory of a closed encoder's cache may be another migration's by now.
    if (closed) {
      throw new IllegalStateException("the encoder is closed");
    }
    if (dirtySyncCount < 0) {
      throw new IllegalStateException("no round has begun");
    }
    int index = batch.blockIndex();
    if (index < 0
        || index >= blockStarts.length
        || !layout.blocks().get(index).equals(batch.block())) {
      throw new IllegalArgumentException(
          "block %d (%s) is not in the layout %s".formatted(index, batch.block(), layout));
    }
    if (batch.count(PageKind.DELTA) > 0) {
      throw new IllegalStateException("the batch has deltas already");
    }
  }

  private long address(PageBatch batch, PageRewriter page) {
    return blockStarts[batch.blockIndex()] + page.page() * pageSizeBytes;
  }

  /**
   * Makes of a batch what {@link #encode} would make of it in a round that is not the first, and
   * takes no note of it: the batch is not one that is sent.
   *
   * @throws IllegalStateException as {@link #encode} does
   * @throws IllegalArgumentException as {@link #encode} does
   */
  public synchronized void tryOut(PageBatch batch) {
    check(batch);
    if (cache == null || batch.pageSizeBytes() != pageSizeBytes) {
      return;
    }
    for (PageRewriter page = batch.rewrite(); page.next(); ) {
      long cached = page.kind() == PageKind.RAW ? cache.peek(address(batch, page)) : -1;
      if (cached >= 0) {
        int length = delta(cache, cached, page);
        if (length == 0) {
          page.drop();
        } else if (length != Xbzrle.OVERFLOW) {
          page.toDelta(delta, length);
        }
      }
    }
  }

  private int delta(XbzrleCache cache, long cached, PageRewriter page) {
    return Xbzrle.encode(
        cache.memory(),
        cached,
        page.slab(),
        page.offset(),
        pageSizeBytes,
        delta,
        0,
        largestDeltaBytes);
  }

  private void encode(XbzrleCache cache, long address, PageRewriter page) {
    long cached = cache.find(address, dirtySyncCount);
    if (bulk || cached < 0) {
      if (!bulk) {
        misses++;
      }
      remember(cache, address, page);
      return;
    }
    pages++;
    int length = delta(cache, cached, page);
    if (length == 0) {
      page.drop();
      return;
    }
    remember(cache, address, page);
    if (length == Xbzrle.OVERFLOW) {
      overflows++;
      bytes += pageSizeBytes;
    } else {
      bytes += HEADER_BYTES + length;
      page.toDelta(delta, length);
    }
  }

  private void remember(XbzrleCache cache, long address, PageRewriter page) {
    long to = lastStage ? -1 : cache.claim(address, dirtySyncCount);
    if (to >= 0) {
      MemorySegment.copy(page.slab(), page.offset(), cache.memory(), to, pageSizeBytes);
    }
  }

  private void rememberZero(XbzrleCache cache, long address) {
    // A page that was cached must become zero, or the next delta would start from what the
    // destination no longer has. One that was not is put in as in QEMU, but not in the first round:
    // the zero pages of an empty guest would take the slots that written pages can use.
    if (lastStage || bulk && cache.find(address, dirtySyncCount) < 0) {
      return;
    }
    long to = cache.claim(address, dirtySyncCount);
    if (to >= 0) {
      cache.memory().asSlice(to, pageSizeBytes).fill((byte) 0);
    }
  }

  /**
   * Ends a period and works out its rates.
   *
   * @param targetPages how many pages the migration looked at in it; if 0, it goes on
   */
  public void endPeriod(long targetPages) {
    meter.endPeriod(targetPages);
  }

  /** {@return what was done so far} Whole batches only. */
  public XbzrleCounters counters() {
    return meter.counters();
  }

  /** Gives the cache's memory back. May be called again, by any thread. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      if (cache != null) {
        caches.giveBack(cache);
      }
    }
  }
}
