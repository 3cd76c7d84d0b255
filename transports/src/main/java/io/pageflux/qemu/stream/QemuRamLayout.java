package io.pageflux.qemu.stream;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalLong;
import java.util.Set;

/**
 * The RAM blocks that a stream announces, in the sender's order.
 *
 * @param blocks at least one, at most {@link #MAX_BLOCKS}, with different names
 */
public record QemuRamLayout(List<Block> blocks) {

  /** The most blocks that a stream may announce. A large guest has a few hundred. */
  public static final int MAX_BLOCKS = 4096;

  /**
   * One RAM block.
   *
   * @param name 1 to 255 bytes of UTF-8, such as {@code pc.ram}
   * @param usedLengthBytes its length; 0 for a block that is there but empty
   * @param pageSizeBytes its host page size, where the stream says it (post-copy only)
   * @param guestPhysicalAddress where the guest sees it, where the stream says it ({@code
   *     x-ignore-shared} only)
   */
  public record Block(
      String name,
      long usedLengthBytes,
      OptionalLong pageSizeBytes,
      OptionalLong guestPhysicalAddress) {

    /** Makes a block of which nothing but name and length is said. */
    public Block(String name, long usedLengthBytes) {
      this(name, usedLengthBytes, OptionalLong.empty(), OptionalLong.empty());
    }
  }

  /**
   * Checks the blocks.
   *
   * @throws IllegalArgumentException if there is none or there are too many, two have the same
   *     name, a length is negative, or the sum of the lengths does not fit a {@code long}
   */
  public QemuRamLayout {
    blocks = List.copyOf(blocks);
    if (blocks.isEmpty() || blocks.size() > MAX_BLOCKS) {
      throw new IllegalArgumentException(
          "a stream has 1 to %d RAM blocks, but this one has %d"
              .formatted(MAX_BLOCKS, blocks.size()));
    }
    Set<String> names = new HashSet<>();
    long total = 0;
    for (Block block : blocks) {
      if (!names.add(block.name())) {
        throw new IllegalArgumentException("two RAM blocks are called '" + block.name() + "'");
      }
      total += block.usedLengthBytes();
      if (block.usedLengthBytes() < 0 || total < 0) {
        throw new IllegalArgumentException(
            "RAM block '%s' of %d bytes makes the RAM larger than 2^63-1 bytes"
                .formatted(block.name(), block.usedLengthBytes()));
      }
    }
  }

  /** {@return the layout of blocks of which the stream is to say no more than a layout does} */
  public static QemuRamLayout of(RamLayout layout) {
    return new QemuRamLayout(
        layout.blocks().stream().map(b -> new Block(b.name(), b.sizeBytes())).toList());
  }

  /** {@return the sum of the blocks' lengths in bytes: what the stream calls the total} */
  public long totalBytes() {
    return blocks.stream().mapToLong(Block::usedLengthBytes).sum();
  }

  /** {@return whether the stream says where the guest sees its blocks ({@code x-ignore-shared})} */
  public boolean hasAddresses() {
    return blocks.stream().anyMatch(block -> block.guestPhysicalAddress().isPresent());
  }

  /**
   * {@return the blocks that have pages, in order; a batch's block index counts these}
   *
   * @param targetPageSizeBytes the size of the pages that the stream carries
   * @throws IllegalArgumentException if all blocks are empty, or one's name is empty or too long or
   *     its length is not a multiple of the page size
   */
  public RamLayout toRamLayout(int targetPageSizeBytes) {
    return new RamLayout(
        blocks.stream()
            .filter(block -> block.usedLengthBytes() > 0)
            .map(b -> new RamBlockLayout(b.name(), b.usedLengthBytes(), targetPageSizeBytes))
            .toList());
  }
}
