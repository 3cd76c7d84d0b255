package io.pageflux.migration;

import com.dynatrace.hash4j.hashing.HashValue128;
import com.dynatrace.hash4j.hashing.Hasher128;
import com.dynatrace.hash4j.hashing.Hashing;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.MemorySegment;
import java.util.UUID;

/**
 * Hashes pages as both sides of a migration do: XXH3 of 128 bits, seeded by the session.
 *
 * <p>Two contents have the same hash by chance once in 2^128 comparisons. XXH3 is no cryptographic
 * hash, but a guest that was out to make collisions would have to know the session beforehand.
 *
 * <p>Used by one thread at a time. One page of heap.
 */
final class PageHasher {

  private final Hasher128 hasher;

  // A page is copied here first: the hash function reads bytes that do not change under it.
  private final byte[] scratch;
  private final MemorySegment copy;

  PageHasher(UUID session, int largestPageBytes) {
    this.hasher =
        Hashing.xxh3_128(session.getMostSignificantBits() ^ session.getLeastSignificantBits());
    this.scratch = new byte[largestPageBytes];
    this.copy = MemorySegment.ofArray(scratch);
  }

  /** Hashes a page, of which {@link #copy} holds a copy from then on. */
  HashValue128 hash(RamBlock block, long page) {
    int bytes = block.pageSizeBytes();
    MemorySegment.copy(block.segment(), block.pageOffset(page), copy, 0, bytes);
    return hasher.hashBytesTo128Bits(scratch, 0, bytes);
  }

  /** {@return the page that was hashed last, as it was then} */
  MemorySegment copy() {
    return copy;
  }
}
