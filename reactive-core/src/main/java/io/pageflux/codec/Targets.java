package io.pageflux.codec;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import java.util.List;

/** Where the pages of a batch belong. */
final class Targets {

  private Targets() {}

  /** The block of a batch, if the memory has it in the same shape: then all pages are within it. */
  static RamBlock block(PageBatch batch, List<RamBlock> blocks) {
    int index = batch.blockIndex();
    if (index < 0 || index >= blocks.size()) {
      throw MigrationException.of(
          MigrationException.Kind.LAYOUT,
          "a batch is for block %d, but the memory has %d blocks".formatted(index, blocks.size()));
    }
    RamBlock block = blocks.get(index);
    if (!block.layout().equals(batch.block())) {
      throw MigrationException.of(
          MigrationException.Kind.LAYOUT,
          "a batch is for block %d (%s), but that block of the memory is (%s)"
              .formatted(index, batch.block(), block.layout()));
    }
    return block;
  }
}
