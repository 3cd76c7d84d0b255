package io.pageflux.memory;

import java.util.List;

/**
 * A set of pages of a whole guest memory: one {@link PageSet} per block, in the blocks' order.
 *
 * <p>Not safe for use by several threads at once.
 */
public final class MemoryPages {

  private final RamLayout layout;
  private final List<PageSet> sets;

  /** Makes an empty set for a layout. */
  public MemoryPages(RamLayout layout) {
    this.layout = layout;
    this.sets = layout.blocks().stream().map(b -> new PageSet(b.pageCount())).toList();
  }

  /** {@return the layout that this is a set of pages of} */
  public RamLayout layout() {
    return layout;
  }

  /** {@return the pages of one block; changes to it are changes to this set} */
  public PageSet of(int blockIndex) {
    return sets.get(blockIndex);
  }

  /** Adds every page of every block. */
  public void addAll() {
    sets.forEach(PageSet::addAll);
  }

  /**
   * Adds every page of another set over the same layout.
   *
   * @return how many were not in this set before
   */
  public long addAll(MemoryPages other) {
    long added = 0;
    for (int i = 0; i < sets.size(); i++) {
      added += sets.get(i).addAll(other.sets.get(i));
    }
    return added;
  }

  /** Removes every page. */
  public void clear() {
    sets.forEach(PageSet::clear);
  }

  /** {@return the number of pages in the set} */
  public long cardinality() {
    return sets.stream().mapToLong(PageSet::cardinality).sum();
  }

  /** {@return the sum of the sizes of the pages in the set, in bytes} */
  public long bytes() {
    long bytes = 0;
    for (int i = 0; i < sets.size(); i++) {
      bytes += sets.get(i).cardinality() * layout.blocks().get(i).pageSizeBytes();
    }
    return bytes;
  }

  /** {@return whether the set has no page} */
  public boolean isEmpty() {
    return sets.stream().allMatch(PageSet::isEmpty);
  }

  @Override
  public String toString() {
    return cardinality() + " of " + layout.totalPages() + " pages";
  }
}
