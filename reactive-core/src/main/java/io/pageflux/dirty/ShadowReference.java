package io.pageflux.dirty;

import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A second copy of the memory: exact whatever the guest writes.
 *
 * <p><b>Memory:</b> as much as the pages that were copied, at the most as the guest, outside the
 * heap.
 */
final class ShadowReference implements PageReference {

  private final Arena arena = Arena.ofShared();
  private final MemorySegment[] shadows;

  ShadowReference(GuestMemory memory) {
    this.shadows = new MemorySegment[memory.blocks().size()];
    try {
      for (RamBlock block : memory.blocks()) {
        shadows[block.index()] = Linux.mapAnonymous(block.sizeBytes(), arena);
      }
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  @Override
  public void set(RamBlock block, long page, MemorySegment copy, long offset) {
    MemorySegment.copy(
        copy, offset, shadows[block.index()], block.pageOffset(page), block.pageSizeBytes());
  }

  @Override
  public boolean differs(RamBlock block, long page) {
    long from = block.pageOffset(page);
    long to = from + block.pageSizeBytes();
    return MemorySegment.mismatch(block.segment(), from, to, shadows[block.index()], from, to) >= 0;
  }

  @Override
  public void close() {
    arena.close();
  }
}
