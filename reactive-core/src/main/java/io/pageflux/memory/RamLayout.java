package io.pageflux.memory;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The RAM blocks of a guest, in order: what both sides of a migration must agree on.
 *
 * @param blocks at least one, with different names
 */
public record RamLayout(List<RamBlockLayout> blocks) {

  /**
   * Checks the blocks.
   *
   * @throws IllegalArgumentException if there is no block, two have the same name, or the sum of
   *     their sizes does not fit a {@code long}
   */
  public RamLayout {
    blocks = List.copyOf(blocks);
    if (blocks.isEmpty()) {
      throw new IllegalArgumentException("a RAM layout has at least one block");
    }
    Set<String> names = new HashSet<>();
    long total = 0;
    for (RamBlockLayout block : blocks) {
      if (!names.add(block.name())) {
        throw new IllegalArgumentException("two RAM blocks are called '" + block.name() + "'");
      }
      try {
        total = Math.addExact(total, block.sizeBytes());
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException("the RAM blocks' sizes add up to more than 2^63-1", e);
      }
    }
  }

  /** {@return the sum of the blocks' sizes in bytes} */
  public long totalBytes() {
    return blocks.stream().mapToLong(RamBlockLayout::sizeBytes).sum();
  }

  /** {@return the number of pages of all blocks} */
  public long totalPages() {
    return blocks.stream().mapToLong(RamBlockLayout::pageCount).sum();
  }

  /** {@return the largest page size of any block in bytes} */
  public int largestPageSizeBytes() {
    return blocks.stream().mapToInt(RamBlockLayout::pageSizeBytes).max().orElseThrow();
  }

  @Override
  public String toString() {
    return blocks.stream()
        .map(RamBlockLayout::toString)
        .collect(Collectors.joining("; ", "[", "]"));
  }
}
