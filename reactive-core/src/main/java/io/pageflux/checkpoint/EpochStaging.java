package io.pageflux.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.ZeroTest;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A checkpoint at the destination on its way into memory: its pages one after the other, each run
 * of one kind behind a header of {@value #HEADER_BYTES} bytes (block, kind, first page, pages).
 *
 * <p>Whatever could fail has failed when a batch was {@linkplain #add added}: its pages lie within
 * their blocks, ascend, and are zero or whole. So {@link #apply} is copying and nothing else.
 *
 * <p><b>Memory bound:</b> the capacity, in one mapping outside heap and direct memory. It costs
 * memory as it is used, and keeps it for the next checkpoint.
 *
 * <p><b>Threading:</b> for one thread at a time.
 */
final class EpochStaging implements AutoCloseable {

  private static final int HEADER_BYTES = 24;

  private final long capacityBytes;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment log;
  private long used;
  private int lastBlock = -1;
  private long lastPage;

  EpochStaging(long capacityBytes) {
    this.capacityBytes = capacityBytes;
    try {
      this.log = Linux.mapAnonymous(capacityBytes, arena);
    } catch (RuntimeException e) {
      arena.close();
      throw e;
    }
  }

  /** {@return the bytes that are in use} */
  long usedBytes() {
    return used;
  }

  /** Forgets what was added. */
  void clear() {
    used = 0;
    lastBlock = -1;
  }

  /**
   * Adds the pages of a batch, raw and zero ones. The batch stays the caller's.
   *
   * @throws MigrationException of kind {@code PROTOCOL} if there is no room for it, or its pages do
   *     not follow those before
   */
  void add(PageBatch batch) {
    if (batch.isEmpty()) {
      return;
    }
    requireAscending(batch);
    long from = batch.payloadOffset();
    int end;
    for (int i = 0; i < batch.size(); i = end) {
      end = endOfRun(batch, i);
      PageKind kind = batch.kind(i);
      long bytes = kind == PageKind.RAW ? (long) (end - i) * batch.pageSizeBytes() : 0;
      requireRoom(HEADER_BYTES + bytes);
      log.set(JAVA_INT_UNALIGNED, used, batch.blockIndex());
      log.set(JAVA_INT_UNALIGNED, used + 4, kind.code());
      log.set(JAVA_LONG_UNALIGNED, used + 8, batch.page(i));
      log.set(JAVA_LONG_UNALIGNED, used + 16, end - i);
      MemorySegment.copy(batch.slab(), from, log, used + HEADER_BYTES, bytes);
      from += bytes;
      used += HEADER_BYTES + bytes;
    }
  }

  /** What is sent twice would be a delta to what is not in memory yet. */
  private void requireAscending(PageBatch batch) {
    long first = batch.page(0);
    if (batch.blockIndex() < lastBlock || batch.blockIndex() == lastBlock && first <= lastPage) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "page %d of block '%s' comes after page %d of block %d in a checkpoint"
              .formatted(first, batch.block().name(), lastPage, lastBlock));
    }
    lastBlock = batch.blockIndex();
    lastPage = batch.page(batch.size() - 1);
  }

  private void requireRoom(long bytes) {
    if (bytes > capacityBytes - used) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          ("the checkpoint has more than the %d bytes that the destination's staging area holds:"
                  + " give it more (stagingBytes), or take checkpoints more often")
              .formatted(capacityBytes));
    }
  }

  private static int endOfRun(PageBatch batch, int from) {
    int end = from + 1;
    while (end < batch.size()
        && batch.page(end) == batch.page(end - 1) + 1
        && batch.kind(end) == batch.kind(from)) {
      end++;
    }
    return end;
  }

  /** Puts the pages into memory. */
  void apply(GuestMemory memory) {
    for (long at = 0; at < used; ) {
      RamBlock block = memory.block(log.get(JAVA_INT_UNALIGNED, at));
      boolean raw = log.get(JAVA_INT_UNALIGNED, at + 4) == PageKind.RAW.code();
      long first = log.get(JAVA_LONG_UNALIGNED, at + 8);
      long pages = log.get(JAVA_LONG_UNALIGNED, at + 16);
      at += HEADER_BYTES;
      if (raw) {
        long bytes = pages * block.pageSizeBytes();
        MemorySegment.copy(log, at, block.segment(), block.pageOffset(first), bytes);
        at += bytes;
      } else {
        for (long page = first; page < first + pages; page++) {
          makeZero(block, page);
        }
      }
    }
  }

  /** Read before it is written: a page that the kernel has not backed stays so. */
  private static void makeZero(RamBlock block, long page) {
    long offset = block.pageOffset(page);
    if (!ZeroTest.isZero(block.segment(), offset, block.pageSizeBytes())) {
      block.segment().asSlice(offset, block.pageSizeBytes()).fill((byte) 0);
    }
  }

  /** Gives the memory back. May be called again. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }
}
