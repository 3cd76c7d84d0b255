package io.pageflux.dirty;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Objects;

/**
 * A tracker that knows of the writes that the program reports: for memory that one program alone
 * writes, on a system that offers nothing better.
 *
 * <p>Either write through this class, or write to the block's segment and call {@link #markWritten}
 * <em>afterwards</em>. The order matters: a report before the write could be collected, and the
 * page copied, between the two; nothing would then tell of the write. A copy between the write and
 * its report does no harm: the page is reported, and copied, once more. A write that is not
 * reported is lost.
 *
 * <p><b>Threading:</b> the methods that write and report are for any number of threads, without
 * locks; two threads that write the same bytes see to their own order. Those of {@link
 * DirtyTracker} are for one thread at a time.
 *
 * <p>Reports are taken at any time, also before {@link #start()} and after {@link #close()}, so
 * that the program need not know whether a migration is going on.
 *
 * <p><b>Memory:</b> a heap bitmap of 65/64 bit per page.
 */
public final class ReportedWrites implements DirtyTracker {

  private final GuestMemory memory;
  private final List<ReportedPages> reported;

  /** Makes a tracker of a memory to which nothing has been reported. */
  public ReportedWrites(GuestMemory memory) {
    this.memory = memory;
    this.reported = memory.blocks().stream().map(b -> new ReportedPages(b.pageCount())).toList();
  }

  @Override
  public String name() {
    return "reported writes";
  }

  @Override
  public boolean collectsWithinRounds() {
    return true;
  }

  /** Forgets the reports up to now: the first round, which follows, sends every page. */
  @Override
  public void start() {
    reported.forEach(ReportedPages::clear);
  }

  @Override
  public long collect(MemoryPages into) {
    Preconditions.requireSameLayout(memory, into);
    Preconditions.requireOpen(memory);
    long added = 0;
    for (int i = 0; i < reported.size(); i++) {
      added += reported.get(i).drainTo(into.of(i));
    }
    return added;
  }

  /** Frees nothing: the bitmap stays, since writes may still be reported. */
  @Override
  public void close() {}

  /**
   * Reports that bytes of a block have been written, after they have been.
   *
   * @param blockIndex the block
   * @param offset the first byte, from the start of the block
   * @param length how many bytes; of none, nothing is reported
   * @throws IndexOutOfBoundsException if they are not all within the block
   */
  public void markWritten(int blockIndex, long offset, long length) {
    RamBlock block = checked(blockIndex, offset, length);
    if (length > 0) {
      mark(block, offset, length);
    }
  }

  private RamBlock checked(int blockIndex, long offset, long length) {
    RamBlock block = memory.block(blockIndex);
    Objects.checkFromIndexSize(offset, length, block.sizeBytes());
    return block;
  }

  private void mark(RamBlock block, long offset, long length) {
    int pageBytes = block.pageSizeBytes();
    reported.get(block.index()).report(offset / pageBytes, (offset + length - 1) / pageBytes);
  }

  /** Writes a byte at an offset from the start of a block, and reports it. */
  public void putByte(int blockIndex, long offset, byte value) {
    RamBlock block = checked(blockIndex, offset, Byte.BYTES);
    block.segment().set(JAVA_BYTE, offset, value);
    mark(block, offset, Byte.BYTES);
  }

  /**
   * Writes an {@code int} in the machine's byte order at any offset from the start of a block, and
   * reports it.
   */
  public void putInt(int blockIndex, long offset, int value) {
    RamBlock block = checked(blockIndex, offset, Integer.BYTES);
    block.segment().set(JAVA_INT_UNALIGNED, offset, value);
    mark(block, offset, Integer.BYTES);
  }

  /**
   * Writes a {@code long} in the machine's byte order at any offset from the start of a block, and
   * reports it.
   */
  public void putLong(int blockIndex, long offset, long value) {
    RamBlock block = checked(blockIndex, offset, Long.BYTES);
    block.segment().set(JAVA_LONG_UNALIGNED, offset, value);
    mark(block, offset, Long.BYTES);
  }

  /**
   * Copies all bytes of a segment to an offset from the start of a block, and reports them.
   *
   * @throws IndexOutOfBoundsException if they do not all fit; then nothing is written
   */
  public void copyFrom(int blockIndex, long offset, MemorySegment source) {
    long length = source.byteSize();
    RamBlock block = checked(blockIndex, offset, length);
    try {
      MemorySegment.copy(source, 0, block.segment(), offset, length);
    } finally {
      // A copy that fails halfway has written the half.
      markWritten(blockIndex, offset, length);
    }
  }

  /** Fills bytes of a block with a value, and reports them. */
  public void fill(int blockIndex, long offset, long length, byte value) {
    RamBlock block = checked(blockIndex, offset, length);
    try {
      block.segment().asSlice(offset, length).fill(value);
    } finally {
      markWritten(blockIndex, offset, length);
    }
  }
}
