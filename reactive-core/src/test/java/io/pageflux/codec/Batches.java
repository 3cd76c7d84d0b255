package io.pageflux.codec;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** Makes batches for tests, all of one pool. */
final class Batches implements AutoCloseable {

  final SlabPool pool;

  Batches(BatchGeometry geometry) {
    this.pool = new SlabPool(4, geometry);
  }

  PageBatch empty(int blockIndex, RamBlockLayout block) {
    Lease lease = Objects.requireNonNull(pool.tryAcquire());
    return new PageBatch(
        blockIndex, block, lease, pool.geometry().headroomBytes(), pool.geometry());
  }

  PageBatch empty(RamBlock block) {
    return empty(block.index(), block.layout());
  }

  /** Pages as they are in memory; those that are zero as zero pages. */
  PageBatch of(RamBlock block, long... pages) {
    PageBatch batch = empty(block);
    for (long page : pages) {
      long offset = block.pageOffset(page);
      if (ZeroTest.isZero(block.segment(), offset, block.pageSizeBytes())) {
        batch.append(page, PageKind.ZERO, 0);
      } else {
        append(batch, page, PageKind.RAW, block.segment().asSlice(offset, block.pageSizeBytes()));
      }
    }
    return batch;
  }

  /** Pages as they are in memory, all of them raw. */
  PageBatch raw(RamBlock block, long... pages) {
    PageBatch batch = empty(block);
    for (long page : pages) {
      append(batch, page, PageKind.RAW, page(block, page));
    }
    return batch;
  }

  static MemorySegment page(RamBlock block, long page) {
    return block.segment().asSlice(block.pageOffset(page), block.pageSizeBytes());
  }

  static void append(PageBatch batch, long page, PageKind kind, MemorySegment contents) {
    MemorySegment.copy(
        contents,
        0,
        batch.slab(),
        (long) batch.payloadOffset() + batch.payloadBytes(),
        contents.byteSize());
    batch.append(page, kind, (int) contents.byteSize());
  }

  /** The contents of the i-th page. */
  static MemorySegment contents(PageBatch batch, int i) {
    long offset = batch.payloadOffset();
    for (int before = 0; before < i; before++) {
      offset += batch.length(before);
    }
    return batch.slab().asSlice(offset, batch.length(i));
  }

  static boolean same(GuestMemory one, GuestMemory other) {
    for (RamBlock block : one.blocks()) {
      if (block.segment().mismatch(other.block(block.index()).segment()) >= 0) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void close() {
    pool.close();
  }
}
