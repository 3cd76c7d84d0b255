package io.pageflux.migration;

import com.dynatrace.hash4j.hashing.HashValue128;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.wire.WireRecord;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.stream.LongStream;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * The pages that a destination has already, by the hashes that it has sent of an older copy.
 *
 * <p>A page is copied once, and its copy hashed. If that is what the destination has, the page is
 * settled as if it had been sent: a write that comes during or after the copy makes it dirty again,
 * for the tracker has begun before.
 *
 * <p><b>Memory bound:</b> 16 bytes of direct memory for each page of the guest's, until the first
 * round begins.
 */
final class ReusedPages {

  private static final int HASH_BYTES = 16;

  /** How much memory is looked at before others have their turn on the thread. */
  private static final long SLICE_BYTES = 32 << 20;

  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

  private final GuestMemory memory;
  private final PageHasher hasher;

  // Guarded by this object's monitor.
  private final Arena arena = Arena.ofShared();
  private boolean closed;
  private final List<MemorySegment> hashes = new ArrayList<>();
  private int block;
  private long next;

  /**
   * @throws OutOfMemoryError if there is no room for the hashes
   */
  ReusedPages(GuestMemory memory, UUID session) {
    this.memory = memory;
    this.hasher = new PageHasher(session, memory.layout().largestPageSizeBytes());
    try {
      for (RamBlock one : memory.blocks()) {
        hashes.add(arena.allocate(one.pageCount() * HASH_BYTES, 8));
      }
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
  }

  /** Takes note of hashes, which come in the order of the pages, without gaps. */
  synchronized void heard(WireRecord.PageHashes part) {
    if (closed) {
      return;
    }
    if (part.block() != block
        || part.first() != next
        || block == hashes.size()
        || part.first() + part.count() > memory.block(block).pageCount()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the destination sends hashes of %d pages from page %d of block %d, where page %d of block %d was to follow"
              .formatted(part.count(), part.first(), part.block(), next, block));
    }
    MemorySegment.copy(
        MemorySegment.ofArray(part.hashes()),
        0,
        hashes.get(block),
        next * HASH_BYTES,
        part.hashes().length);
    next += part.count();
    if (next == memory.block(block).pageCount()) {
      block++;
      next = 0;
    }
  }

  private synchronized void requireAllOrNone() {
    if (block < hashes.size() && !isEmpty()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the destination was to send the hashes of all pages, but page %d of block %d and those behind it are missing"
              .formatted(next, block));
    }
  }

  private synchronized boolean isEmpty() {
    return block == 0 && next == 0;
  }

  /**
   * Settles what the destination has. On a thread, in slices.
   *
   * @return how many pages
   */
  Mono<Long> settle(DirtyLedger ledger, DirtyTracker tracker, Scheduler thread) {
    return Mono.defer(
        () -> {
          requireAllOrNone();
          if (isEmpty()) {
            return Mono.just(0L);
          }
          return Flux.fromIterable(memory.blocks())
              .concatMap(one -> slices(one, ledger, tracker, thread), 0)
              .reduce(0L, Long::sum);
        });
  }

  private Flux<Long> slices(
      RamBlock one, DirtyLedger ledger, DirtyTracker tracker, Scheduler thread) {
    long pages = Math.max(1, SLICE_BYTES / one.pageSizeBytes());
    return Flux.fromStream(
            () ->
                LongStream.iterate(0, from -> from < one.pageCount(), from -> from + pages).boxed())
        .concatMap(
            from ->
                Mono.fromSupplier(() -> settle(one, from, pages, ledger, tracker))
                    .subscribeOn(thread),
            0);
  }

  private synchronized long settle(
      RamBlock one, long from, long pages, DirtyLedger ledger, DirtyTracker tracker) {
    if (closed) {
      return 0;
    }
    MemorySegment there = hashes.get(one.index());
    long settled = 0;
    for (long page = from; page < Math.min(from + pages, one.pageCount()); page++) {
      HashValue128 here = hasher.hash(one, page);
      if (there.get(LONG, page * HASH_BYTES) == here.getMostSignificantBits()
          && there.get(LONG, page * HASH_BYTES + 8) == here.getLeastSignificantBits()) {
        tracker.copied(one.index(), page, hasher.copy(), 0);
        settled += ledger.dirty().of(one.index()).remove(page) ? 1 : 0;
      }
    }
    return settled;
  }

  /** Frees the hashes. May be called again. */
  synchronized void close() {
    if (!closed) {
      closed = true;
      arena.close();
    }
  }
}
