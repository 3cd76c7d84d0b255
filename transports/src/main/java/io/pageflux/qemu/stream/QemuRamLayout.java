package io.pageflux.qemu.stream;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.List;

/**
 * The RAM blocks as QEMU lists them.
 *
 * @param blocks in the stream's order
 */
public record QemuRamLayout(List<Block> blocks) {

  /** Where a block has no address in the guest's memory that the stream would name. */
  public static final long NO_ADDRESS = -1;

  /** Makes the list its own. */
  public QemuRamLayout {
    blocks = List.copyOf(blocks);
  }

  /**
   * A block.
   *
   * @param name as {@code pc.ram}, or the name of its memory backend
   * @param usedBytes how much of it is used
   * @param address where the guest sees it, or {@link #NO_ADDRESS}; named with {@code
   *     x-ignore-shared} only
   */
  public record Block(String name, long usedBytes, long address) {}

  /** {@return the bytes of all blocks} */
  public long totalBytes() {
    return blocks.stream().mapToLong(Block::usedBytes).sum();
  }

  /**
   * {@return the layout as the operators want it}
   *
   * @param pageSizeBytes the size of the target's page
   * @throws IllegalArgumentException if a block is not a multiple of it
   */
  public RamLayout toRamLayout(int pageSizeBytes) {
    return new RamLayout(
        blocks.stream()
            .map(block -> new RamBlockLayout(block.name(), block.usedBytes(), pageSizeBytes))
            .toList());
  }
}
