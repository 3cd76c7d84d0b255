package io.pageflux.migration;

import com.dynatrace.hash4j.hashing.HashValue128;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.nio.ByteBuffer;
import java.util.UUID;
import reactor.core.publisher.Flux;

/** What a destination says of the older copy in its memory. */
final class OlderCopy {

  private static final int HASH_BYTES = 16;

  private OlderCopy() {}

  /**
   * {@return the hashes of all pages}
   *
   * <p><b>Demand:</b> pages are read as records are requested, on the requesting thread.
   *
   * <p><b>Memory bound:</b> one record, of up to 64 KiB.
   */
  static Flux<WireRecord> hashes(GuestMemory memory, UUID session) {
    return Flux.defer(
        () -> {
          PageHasher hasher = new PageHasher(session, memory.layout().largestPageSizeBytes());
          return Flux.fromIterable(memory.blocks()).concatMap(block -> hashes(block, hasher), 0);
        });
  }

  private static Flux<WireRecord> hashes(RamBlock block, PageHasher hasher) {
    return Flux.generate(
        () -> 0L,
        (first, sink) -> {
          int count = (int) Math.min(WireLimits.MAX_HASHES, block.pageCount() - first);
          ByteBuffer hashes = ByteBuffer.allocate(count * HASH_BYTES);
          for (long page = first; page < first + count; page++) {
            HashValue128 hash = hasher.hash(block, page);
            hashes.putLong(hash.getMostSignificantBits()).putLong(hash.getLeastSignificantBits());
          }
          sink.next(new WireRecord.PageHashes(block.index(), first, hashes.array()));
          if (first + count == block.pageCount()) {
            sink.complete();
          }
          return first + count;
        });
  }
}
