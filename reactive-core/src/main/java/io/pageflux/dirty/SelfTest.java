package io.pageflux.dirty;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.ErrnoException;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.function.Function;

/**
 * Writes to a scratch memory and expects a tracker to tell of it, of all of it and of nothing else.
 *
 * <p>Whether a system tracks writes cannot be found by asking it: there are kernels that accept
 * every call of an interface that they were built without, and then show each page as clean.
 *
 * <p><b>Memory:</b> four pages for each kind of block, the larger of guest and machine pages.
 */
final class SelfTest {

  private static final int PAGES = 4;

  private record Shape(boolean shared, int pageSizeBytes) {}

  private final DirtyTracker tracker;
  private final GuestMemory scratch;
  private final long machinePageBytes = Linux.pageSizeBytes();

  private SelfTest(DirtyTracker tracker, GuestMemory scratch) {
    this.tracker = tracker;
    this.scratch = scratch;
  }

  /**
   * Tests a kind of tracker on a scratch memory that has a block of each backing and page size of
   * the memory that it is meant for. A memfd stands for a file: both are shared mappings.
   *
   * @throws MigrationException of kind {@code TRACKING} if it does not work
   */
  static void run(GuestMemory memory, Function<GuestMemory, DirtyTracker> kind) {
    try (GuestMemory scratch = scratchLike(memory);
        DirtyTracker tracker = kind.apply(scratch)) {
      run(scratch, tracker);
    } catch (ErrnoException e) {
      throw MigrationException.of(
          Kind.TRACKING, "no scratch memory for a tracker's self-test: " + e.getMessage(), e);
    }
  }

  /** Tests a tracker on the memory that it tracks, all of which is overwritten. */
  static void run(GuestMemory scratch, DirtyTracker tracker) {
    new SelfTest(tracker, scratch).run();
  }

  private static GuestMemory scratchLike(GuestMemory memory) {
    Set<Shape> shapes = new LinkedHashSet<>();
    for (RamBlock block : memory.blocks()) {
      shapes.add(new Shape(block.backing() != RamBlock.Backing.ANONYMOUS, block.pageSizeBytes()));
    }
    GuestMemory.Builder builder = GuestMemory.builder();
    for (Shape shape : shapes) {
      long bytes = (long) PAGES * Math.max(shape.pageSizeBytes(), Linux.pageSizeBytes());
      builder.pageSize(shape.pageSizeBytes());
      if (shape.shared()) {
        builder.memfd("shared-" + shape.pageSizeBytes(), bytes);
      } else {
        builder.anonymous("private-" + shape.pageSizeBytes(), bytes);
      }
    }
    return builder.build();
  }

  private void run() {
    tracker.start();
    MemoryPages all = new MemoryPages(scratch.layout());
    tracker.collect(all);
    all.addAll();
    copy(all);
    expectClean("nothing was written since the pages were copied");

    for (RamBlock block : scratch.blocks()) {
      long offset = block.sizeBytes() / 2;
      block.segment().set(JAVA_BYTE, offset, (byte) 1);
      expectOnly(block, offset, "a write");
      expectClean("the written page was reported and copied");

      readZeros(block.segment().asSlice(offset, 1));
      expectOnly(block, offset, "a read of a file into the memory");
      expectClean("the page that was read into was reported and copied");
    }
  }

  private void copy(MemoryPages pages) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(scratch.layout().largestPageSizeBytes(), 8);
      for (RamBlock block : scratch.blocks()) {
        pages
            .of(block.index())
            .forEachRun(
                (from, to) -> {
                  for (long page = from; page < to; page++) {
                    MemorySegment.copy(
                        block.segment(), block.pageOffset(page), slab, 0, block.pageSizeBytes());
                    tracker.copied(block.index(), page, slab, 0);
                  }
                });
      }
    }
  }

  private void expectClean(String since) {
    MemoryPages found = new MemoryPages(scratch.layout());
    long added = tracker.collect(found);
    if (added != 0 || !found.isEmpty()) {
      throw failed("it reported " + found + " although " + since);
    }
  }

  private void expectOnly(RamBlock written, long offset, String what) {
    MemoryPages found = new MemoryPages(scratch.layout());
    long added = tracker.collect(found);
    long page = offset / written.pageSizeBytes();
    if (!found.of(written.index()).contains(page)) {
      throw failed("it did not report " + what + " to page " + page + " of " + written);
    }
    // A machine page is the most that a tracker may report for a smaller page.
    long granule = Math.max(1, machinePageBytes / written.pageSizeBytes());
    long first = page / granule * granule;
    if (added != found.cardinality()
        || added > granule
        || found.of(written.index()).nextSet(0) < first
        || found.of(written.index()).nextSet(first + granule) >= 0) {
      throw failed(
          "it reported %s, and counted %d, for %s to page %d of %s"
              .formatted(found, added, what, page, written));
    }
    copy(found);
  }

  /** Has the kernel write, as it does when a guest's disk or network is read into its memory. */
  private static void readZeros(MemorySegment target) {
    try (FileChannel zeros = FileChannel.open(Path.of("/dev/zero"))) {
      zeros.read(target.asByteBuffer());
    } catch (IOException e) {
      throw MigrationException.of(Kind.TRACKING, "the self-test cannot read /dev/zero", e);
    }
  }

  private MigrationException failed(String how) {
    return MigrationException.of(Kind.TRACKING, tracker.name() + " failed its self-test: " + how);
  }
}
