package io.pageflux.dirty;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import com.dynatrace.hash4j.hashing.HashValue128;
import com.dynatrace.hash4j.hashing.Hasher128;
import com.dynatrace.hash4j.hashing.Hashing;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ThreadLocalRandom;

/**
 * A 128-bit XXH3 per page.
 *
 * <p>Two contents have the same hash by chance once in 2^128 comparisons. XXH3 is no cryptographic
 * hash: where a guest may be out to make collisions, a {@link ShadowReference} is the answer. The
 * random seed only spares everybody from meeting the same collisions.
 *
 * <p><b>Memory:</b> 16 bytes per page outside the heap, and one page of heap.
 */
final class HashReference implements PageReference {

  private static final long HASH_BYTES = 16;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment[] hashes;
  private final Hasher128 hasher = Hashing.xxh3_128(ThreadLocalRandom.current().nextLong());

  // Every page is copied here before it is hashed: as fast as hashing it where it is, because the
  // copy stays in the cache, and the hash function reads bytes that do not change under it.
  private final byte[] scratch;
  private final MemorySegment scratchSegment;

  HashReference(GuestMemory memory) {
    this.hashes = new MemorySegment[memory.blocks().size()];
    try {
      for (RamBlock block : memory.blocks()) {
        hashes[block.index()] = Linux.mapAnonymous(block.pageCount() * HASH_BYTES, arena);
      }
    } catch (RuntimeException | Error e) {
      arena.close();
      throw e;
    }
    this.scratch = new byte[memory.layout().largestPageSizeBytes()];
    this.scratchSegment = MemorySegment.ofArray(scratch);
  }

  private HashValue128 hash(MemorySegment segment, long offset, int bytes) {
    MemorySegment.copy(segment, offset, scratchSegment, 0, bytes);
    return hasher.hashBytesTo128Bits(scratch, 0, bytes);
  }

  @Override
  public void set(RamBlock block, long page, MemorySegment copy, long offset) {
    HashValue128 hash = hash(copy, offset, block.pageSizeBytes());
    MemorySegment table = hashes[block.index()];
    table.set(JAVA_LONG, page * HASH_BYTES, hash.getMostSignificantBits());
    table.set(JAVA_LONG, page * HASH_BYTES + 8, hash.getLeastSignificantBits());
  }

  @Override
  public boolean differs(RamBlock block, long page) {
    HashValue128 hash = hash(block.segment(), block.pageOffset(page), block.pageSizeBytes());
    MemorySegment table = hashes[block.index()];
    return table.get(JAVA_LONG, page * HASH_BYTES) != hash.getMostSignificantBits()
        || table.get(JAVA_LONG, page * HASH_BYTES + 8) != hash.getLeastSignificantBits();
  }

  @Override
  public void close() {
    arena.close();
  }
}
