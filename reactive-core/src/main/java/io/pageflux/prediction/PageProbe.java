package io.pageflux.prediction;

import io.pageflux.codec.Xbzrle;
import io.pageflux.codec.ZeroTest;
import io.pageflux.codec.ZstdBatchCompressor;
import io.pageflux.codec.ZstdBatchDecompressor;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.PageRewriter;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.WireWriter;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.function.LongPredicate;
import org.jspecify.annotations.Nullable;

/**
 * Puts pages through the codecs and counts what comes out. Pages are numbered through all blocks.
 *
 * <p>Memory: one slab, one page, and the scratch of zstd both ways. For one thread.
 */
final class PageProbe implements AutoCloseable {

  /** What pages became. */
  static final class Count {
    long pages;
    long zero;
    long bytes;
    long encodeNanos;
    long compressNanos;
    long applyNanos;

    double perPage(double amount) {
      return pages == 0 ? 0 : amount / pages;
    }
  }

  private final GuestMemory memory;
  private final ObservationSpec spec;
  private final long[] blockStarts;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment delta;
  private final SlabPool pool;
  private final @Nullable ZstdBatchCompressor compressor;
  private final ZstdBatchDecompressor decompressor = new ZstdBatchDecompressor();

  PageProbe(ObservationSpec spec) {
    this.spec = spec;
    this.memory = spec.memory();
    this.blockStarts = new long[memory.blocks().size() + 1];
    for (RamBlock block : memory.blocks()) {
      blockStarts[block.index() + 1] = blockStarts[block.index()] + block.pageCount();
    }
    this.delta = arena.allocate(memory.layout().largestPageSizeBytes());
    this.pool = new SlabPool(1, spec.geometry());
    CompressionSpec compression = spec.compression();
    this.compressor = compression == null ? null : new ZstdBatchCompressor(compression.level());
  }

  long totalPages() {
    return blockStarts[blockStarts.length - 1];
  }

  RamBlock blockOf(long page) {
    int at = Arrays.binarySearch(blockStarts, page);
    return memory.block(at >= 0 ? lastAt(at) : -at - 2);
  }

  private int lastAt(int at) {
    int i = at;
    while (i + 1 < blockStarts.length - 1 && blockStarts[i + 1] == blockStarts[i]) {
      i++;
    }
    return i;
  }

  long inBlock(long page, RamBlock block) {
    return page - blockStarts[block.index()];
  }

  void copy(long page, MemorySegment to, long offset) {
    RamBlock block = blockOf(page);
    MemorySegment.copy(
        block.segment(), block.pageOffset(inBlock(page, block)), to, offset, block.pageSizeBytes());
  }

  /** What the first round would see: batches at random. {@return one count for each} */
  Count[] first(SplittableRandom random, int batches) {
    Count[] counts = new Count[batches];
    for (int i = 0; i < batches; i++) {
      long at = random.nextLong(totalPages());
      RamBlock block = blockOf(at);
      int most = spec.geometry().pagesPerBatch(block.pageSizeBytes());
      long from = inBlock(at, block) / most * most;
      int size = (int) Math.min(most, block.pageCount() - from);
      long[] pages = new long[size];
      Arrays.setAll(pages, p -> blockStarts[block.index()] + from + p);
      counts[i] = new Count();
      count(pages, 0, size, p -> true, null, 0, counts[i]);
    }
    return counts;
  }

  /**
   * Counts what pages become now.
   *
   * @param pages in ascending order
   * @param which those of them that count
   * @param old their old versions, in the order of the pages; null to send them whole
   * @param slotBytes how far these are apart
   */
  void count(
      long[] pages,
      int from,
      int to,
      LongPredicate which,
      @Nullable MemorySegment old,
      long slotBytes,
      Count into) {
    int at = from;
    while (at < to) {
      if (!which.test(pages[at])) {
        at++;
        continue;
      }
      RamBlock block = blockOf(pages[at]);
      Lease lease = Objects.requireNonNull(pool.tryAcquire());
      PageBatch batch =
          new PageBatch(
              block.index(),
              block.layout(),
              lease,
              spec.geometry().headroomBytes(),
              spec.geometry());
      int[] places = new int[spec.geometry().maxPages()];
      try {
        long began = System.nanoTime();
        while (at < to && batch.hasRoom() && blockOf(pages[at]) == block) {
          if (which.test(pages[at])) {
            copy(pages[at], batch.slab(), (long) batch.payloadOffset() + batch.payloadBytes());
            places[batch.size()] = at;
            batch.append(inBlock(pages[at], block), PageKind.RAW, block.pageSizeBytes());
          }
          at++;
        }
        encode(batch, places, old, slotBytes, began, into);
      } finally {
        batch.release();
      }
    }
  }

  private void encode(
      PageBatch batch,
      int[] places,
      @Nullable MemorySegment old,
      long slotBytes,
      long began,
      Count into) {
    into.pages += batch.size();
    int i = 0;
    for (PageRewriter page = batch.rewrite(); page.next(); i++) {
      if (ZeroTest.isZero(page.slab(), page.offset(), page.length())) {
        page.toZero();
        into.zero++;
      } else if (old != null && page.length() <= Xbzrle.MAX_PAGE_BYTES) {
        int length =
            Xbzrle.encode(
                old,
                places[i] * slotBytes,
                page.slab(),
                page.offset(),
                page.length(),
                delta,
                0,
                page.length() - 1);
        if (length == 0) {
          page.drop();
        } else if (length != Xbzrle.OVERFLOW) {
          page.toDelta(delta, length);
        }
      }
    }
    long encoded = System.nanoTime();
    into.encodeNanos += encoded - began;
    if (batch.isEmpty()) {
      return;
    }
    if (compressor != null) {
      compressor.compress(batch);
    }
    into.compressNanos += System.nanoTime() - encoded;
    into.bytes += WireWriter.recordBytes(batch);
    if (old == null) {
      apply(batch, into);
    }
  }

  /** What the destination would do, but that each page is written to the same place. */
  private void apply(PageBatch batch, Count into) {
    long began = System.nanoTime();
    decompressor.decompress(batch);
    for (PageRewriter page = batch.rewrite(); page.next(); ) {
      MemorySegment.copy(page.slab(), page.offset(), delta, 0, page.length());
    }
    into.applyNanos += System.nanoTime() - began;
  }

  @Override
  public void close() {
    if (compressor != null) {
      compressor.close();
    }
    decompressor.close();
    pool.close();
    arena.close();
  }
}
