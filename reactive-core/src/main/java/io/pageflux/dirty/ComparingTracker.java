package io.pageflux.dirty;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.ErrnoException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Finds written pages by comparing every page with what was copied out of it last. It sees the
 * writes of whomever, at the price of reading the whole memory in every collection.
 *
 * <p>A page is reported as long as its content is not what was last handed to {@link #copied}. The
 * reference is never taken from the memory by {@link #collect} itself: a page that held A then, B
 * when it was copied, and A again, would look clean while the destination has B.
 *
 * <p>A page that is written while it is compared may be missed by this collection, but not by the
 * next one; the last one, when nobody writes any more, sees all. A page that is in the set already
 * is not looked at.
 *
 * <p><b>Memory:</b> that of the reference, and a heap bitmap of a bit per page.
 */
final class ComparingTracker implements DirtyTracker {

  static final String HASH_NAME = "comparing (hash)";
  static final String SHADOW_NAME = "comparing (shadow)";

  /** Hashed in 7 to 26 ms, measured; compared with a shadow in half of that. */
  private static final long SLICE_BYTES = 64 << 20;

  private final String name;
  private final GuestMemory memory;
  private final Function<GuestMemory, PageReference> references;
  private final MemoryPages known;
  private @Nullable PageReference reference;

  private ComparingTracker(
      String name, GuestMemory memory, Function<GuestMemory, PageReference> references) {
    this.name = name;
    this.memory = memory;
    this.references = references;
    this.known = new MemoryPages(memory.layout());
  }

  static ComparingTracker withHashes(GuestMemory memory) {
    return new ComparingTracker(HASH_NAME, memory, HashReference::new);
  }

  static ComparingTracker withShadow(GuestMemory memory) {
    return new ComparingTracker(SHADOW_NAME, memory, ShadowReference::new);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public void start() {
    Preconditions.requireOpen(memory);
    known.clear();
    if (reference == null) {
      try {
        reference = references.apply(memory);
      } catch (ErrnoException e) {
        throw MigrationException.of(
            Kind.TRACKING,
            "no room for what '" + name + "' compares " + memory + " with: " + e.getMessage(),
            e);
      }
    }
  }

  @Override
  public void copied(int blockIndex, long page, MemorySegment slab, long offset) {
    PageReference current = reference;
    if (current == null) {
      throw Preconditions.notStarted(name);
    }
    RamBlock block = memory.block(blockIndex);
    // First out, then in: were the copy unreadable, the page would be one without a reference.
    PageSet knownHere = known.of(blockIndex);
    knownHere.remove(page);
    current.set(block, page, slab, offset);
    knownHere.add(page);
  }

  @Override
  public long collect(MemoryPages into) {
    Preconditions.requireSameLayout(memory, into);
    PageReference current = reference;
    if (current == null) {
      throw Preconditions.notStarted(name);
    }
    Preconditions.requireOpen(memory);
    long added = 0;
    for (RamBlock block : memory.blocks()) {
      added += collect(current, block, into.of(block.index()), 0, block.pageCount());
    }
    return added;
  }

  @Override
  public long sliceBytes() {
    return SLICE_BYTES;
  }

  @Override
  public long collect(MemoryPages into, int blockIndex, long from, long to) {
    Preconditions.requireSameLayout(memory, into);
    PageReference current = reference;
    if (current == null) {
      throw Preconditions.notStarted(name);
    }
    Preconditions.requireOpen(memory);
    return collect(current, memory.block(blockIndex), into.of(blockIndex), from, to);
  }

  private long collect(PageReference current, RamBlock block, PageSet into, long from, long to) {
    PageSet knownHere = known.of(block.index());
    long added = 0;
    long page = from;
    try {
      for (page = into.nextClear(from); page < to; page = into.nextClear(page + 1)) {
        if (!knownHere.contains(page) || current.differs(block, page)) {
          into.add(page);
          added++;
        }
      }
      return added;
    } catch (InternalError e) {
      // What the virtual machine makes of SIGBUS: the mapping is there, but not the file's page.
      throw MigrationException.of(
          Kind.TRACKING,
          ("RAM block '%s' cannot be read at or before byte %d: the file behind it was cut short,"
                  + " or its device fails; give it its %d bytes back and start anew")
              .formatted(block.name(), block.pageOffset(page), block.sizeBytes()),
          e);
    }
  }

  @Override
  public void close() {
    PageReference current = reference;
    reference = null;
    if (current != null) {
      current.close();
    }
  }
}
