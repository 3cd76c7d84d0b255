package io.pageflux.dirty;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/** The kinds of tracker, and what the tests do with any of them. */
enum Trackers {
  USERFAULTFD,
  COMPARING_HASH,
  COMPARING_SHADOW,
  REPORTED;

  /** Writes the way that the kind of tracker asks for. */
  @FunctionalInterface
  interface Writer {
    void putLong(int blockIndex, long offset, long value);
  }

  DirtyTracker on(GuestMemory memory) {
    return switch (this) {
      case USERFAULTFD -> {
        assumeUserfaultfd();
        yield DirtyTrackers.userfaultfd(memory);
      }
      case COMPARING_HASH -> DirtyTrackers.comparingHashes(memory);
      case COMPARING_SHADOW -> DirtyTrackers.comparingShadow(memory);
      case REPORTED -> new ReportedWrites(memory);
    };
  }

  static Writer writer(DirtyTracker tracker, GuestMemory memory) {
    return tracker instanceof ReportedWrites reported
        ? reported::putLong
        : (block, offset, value) ->
            memory.block(block).segment().set(ValueLayout.JAVA_LONG_UNALIGNED, offset, value);
  }

  /** Ends a test where the system has no asynchronous userfaultfd at all. */
  static void assumeUserfaultfd() {
    try {
      Userfaultfd.open().close();
    } catch (MigrationException e) {
      assumeTrue(false, e.getMessage());
    }
  }

  /** Collects into an empty set. */
  static MemoryPages collect(DirtyTracker tracker, GuestMemory memory) {
    MemoryPages pages = new MemoryPages(memory.layout());
    tracker.collect(pages);
    return pages;
  }

  /** The page indices of one block. */
  static List<Long> pages(MemoryPages pages, int blockIndex) {
    List<Long> indices = new ArrayList<>();
    pages
        .of(blockIndex)
        .forEachRun(
            (from, to) -> {
              for (long page = from; page < to; page++) {
                indices.add(page);
              }
            });
    return indices;
  }

  /** Copies pages to a second memory, by way of a slab, as a migration does. */
  static void copy(
      DirtyTracker tracker, GuestMemory source, MemoryPages pages, GuestMemory destination) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(source.layout().largestPageSizeBytes() + 8L);
      for (RamBlock block : source.blocks()) {
        MemorySegment target = destination.block(block.index()).segment();
        int pageBytes = block.pageSizeBytes();
        pages
            .of(block.index())
            .forEachRun(
                (from, to) -> {
                  for (long page = from; page < to; page++) {
                    long offset = block.pageOffset(page);
                    MemorySegment.copy(block.segment(), offset, slab, 8, pageBytes);
                    tracker.copied(block.index(), page, slab, 8);
                    MemorySegment.copy(slab, 8, target, offset, pageBytes);
                  }
                });
      }
    }
  }

  /** Starts, and tells the tracker that every page was copied as it is. */
  static void startWithAllCopied(DirtyTracker tracker, GuestMemory memory) {
    tracker.start();
    MemoryPages all = new MemoryPages(memory.layout());
    all.addAll();
    for (RamBlock block : memory.blocks()) {
      for (long page = 0; page < block.pageCount(); page++) {
        tracker.copied(block.index(), page, block.segment(), block.pageOffset(page));
      }
    }
  }
}
