package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.wire.WireRecord;
import java.util.List;

/**
 * What a destination says that its guest lacks, when its source has come back after the switch to
 * post-copy. Told on the transport's thread, and used when all is told.
 *
 * @param runs how many pages that is to be
 * @param pages which ones, as far as they were told
 */
record LackingPages(WireRecord.GuestRuns runs, MemoryPages pages) {

  /** Nothing was told yet. */
  LackingPages(WireRecord.GuestRuns runs, GuestMemory memory) {
    this(runs, new MemoryPages(memory.layout()));
  }

  /**
   * Adds some.
   *
   * @param peer who says so
   * @throws MigrationException if they are outside of the memory
   */
  void add(WireRecord.Discard lacking, GuestMemory memory, String peer) {
    List<RamBlock> blocks = memory.blocks();
    int block = lacking.block();
    for (WireRecord.Discard.Run run : lacking.runs()) {
      long end = run.first() + run.pages();
      if (block >= blocks.size() || end > blocks.get(block).pageCount()) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "%s claims to lack pages up to %d of block %d, which is outside of the layout"
                .formatted(peer, end - 1, block));
      }
      pages.of(block).addRange(run.first(), end);
    }
  }
}
