package io.pageflux.migration;

import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.ZeroTest;
import io.pageflux.codec.ZstdBatchCompressor;
import io.pageflux.convergence.ConvergenceMeter;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.PageRewriter;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.WireWriter;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * Puts some of the dirty pages through the codecs and sends nothing, to see what they are on the
 * wire now. What pages became before says little of that: a page of which the destination has an
 * older version becomes the smaller the less time it had to change.
 *
 * <p>It takes some milliseconds: a MiB of pages is copied and compressed at the most, or one page
 * if that is larger. They are taken in stretches all over what is dirty, for neighbours share the
 * record's description and are alike.
 *
 * <p><b>Memory bound:</b> one slab of the migration's pool, if one is free, and a {@link
 * ZstdBatchCompressor}.
 *
 * <p><b>Threading:</b> the scanning thread's.
 */
final class PageTrial implements AutoCloseable {

  private static final long BYTES = 1 << 20;

  /** How many dirty pages are taken one after the other. */
  private static final int TOGETHER = 8;

  private final GuestMemory memory;
  private final SlabPool pool;
  private @Nullable ZstdBatchCompressor compressor;

  PageTrial(GuestMemory memory, SlabPool pool) {
    this.memory = memory;
    this.pool = pool;
  }

  /**
   * {@return what pages became; null if there is no room to look, or nothing to look at}
   *
   * @param dirty which of them there are
   * @param encoder makes deltas; null if there are none
   * @param compression how contents are compressed; null if they are not
   */
  ConvergenceMeter.@Nullable Sample of(
      MemoryPages dirty, @Nullable XbzrleEncoder encoder, @Nullable CompressionSpec compression) {
    long most = Math.max(1, BYTES / memory.layout().largestPageSizeBytes());
    long first = Math.min(TOGETHER, most);
    long stretch = first * Math.max(1, (dirty.cardinality() + most - 1) / most);
    Count count = new Count(encoder, compressor(compression));
    try {
      long counted = 0;
      for (RamBlock block : memory.blocks()) {
        counted =
            dirty
                .of(block.index())
                .forEachFirst(counted, stretch, first, page -> count.add(block, page));
        count.endBatch();
      }
    } catch (VirtualMachineError e) {
      // If memory cannot be had or read, whoever has to have it will say so.
      return null;
    } finally {
      count.close();
    }
    return count.sample();
  }

  private @Nullable ZstdBatchCompressor compressor(@Nullable CompressionSpec compression) {
    if (compression == null) {
      return null;
    }
    ZstdBatchCompressor made = compressor;
    if (made == null) {
      made = new ZstdBatchCompressor(compression.level());
      compressor = made;
    }
    made.setLevel(compression.level());
    return made;
  }

  /** Fills batches, and counts what becomes of them. */
  private final class Count {

    private final @Nullable XbzrleEncoder encoder;
    private final @Nullable ZstdBatchCompressor compressor;
    private @Nullable PageBatch batch;
    private boolean full;
    private long pages;
    private long contents;
    private long bytes;

    Count(@Nullable XbzrleEncoder encoder, @Nullable ZstdBatchCompressor compressor) {
      this.encoder = encoder;
      this.compressor = compressor;
    }

    void add(RamBlock block, long page) {
      PageBatch to = batch;
      if (to == null) {
        Lease lease = full ? null : pool.tryAcquire();
        if (lease == null) {
          full = true; // What was counted until here is all there is.
          return;
        }
        to =
            new PageBatch(
                block.index(),
                block.layout(),
                lease,
                pool.geometry().headroomBytes(),
                pool.geometry());
        batch = to;
      }
      int size = block.pageSizeBytes();
      long at = (long) to.payloadOffset() + to.payloadBytes();
      to.append(page, PageKind.RAW, size);
      MemorySegment.copy(block.segment(), block.pageOffset(page), to.slab(), at, size);
      if (!to.hasRoom()) {
        endBatch();
      }
    }

    void endBatch() {
      PageBatch ended = batch;
      if (ended == null) {
        return;
      }
      pages += ended.size();
      for (PageRewriter page = ended.rewrite(); page.next(); ) {
        if (ZeroTest.isZero(page.slab(), page.offset(), page.length())) {
          page.toZero();
        }
      }
      contents += ended.count(PageKind.RAW);
      if (encoder != null) {
        encoder.tryOut(ended);
      }
      if (!ended.isEmpty()) {
        if (compressor != null) {
          compressor.compress(ended);
        }
        bytes += WireWriter.recordBytes(ended);
      }
      close();
    }

    void close() {
      PageBatch last = batch;
      if (last != null) {
        last.release();
        batch = null;
      }
    }

    ConvergenceMeter.@Nullable Sample sample() {
      return pages == 0 ? null : new ConvergenceMeter.Sample(pages, contents, bytes);
    }
  }

  /** Frees the compressor. May be called again. */
  @Override
  public void close() {
    ZstdBatchCompressor made = compressor;
    if (made != null) {
      compressor = null;
      made.close();
    }
  }
}
