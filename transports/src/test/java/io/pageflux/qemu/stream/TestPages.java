package io.pageflux.qemu.stream;

import io.pageflux.codec.ZeroTest;
import io.pageflux.memory.RamBlock;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/** Makes batches for tests. */
final class TestPages {

  private TestPages() {}

  static PageBatch empty(SlabPool pool, int index, RamBlockLayout block, int payloadOffset) {
    return new PageBatch(
        index, block, Objects.requireNonNull(pool.tryAcquire()), payloadOffset, pool.geometry());
  }

  static PageBatch empty(SlabPool pool, int index, RamBlockLayout block) {
    return empty(pool, index, block, pool.geometry().headroomBytes());
  }

  static void append(PageBatch batch, long page, PageKind kind, byte[] contents) {
    MemorySegment.copy(
        MemorySegment.ofArray(contents),
        0,
        batch.slab(),
        (long) batch.payloadOffset() + batch.payloadBytes(),
        contents.length);
    batch.append(page, kind, contents.length);
  }

  /** Pages of a block from one on, as many as fit: zero ones as such, the others raw. */
  static PageBatch of(SlabPool pool, RamBlock block, long from) {
    PageBatch batch = empty(pool, block.index(), block.layout());
    byte[] contents = new byte[block.pageSizeBytes()];
    int most = pool.geometry().pagesPerBatch(block.pageSizeBytes());
    for (long page = from; page < block.pageCount() && batch.size() < most; page++) {
      long offset = block.pageOffset(page);
      if (ZeroTest.isZero(block.segment(), offset, contents.length)) {
        batch.append(page, PageKind.ZERO, 0);
      } else {
        MemorySegment.copy(
            block.segment(), offset, MemorySegment.ofArray(contents), 0, contents.length);
        append(batch, page, PageKind.RAW, contents);
      }
    }
    return batch;
  }
}
