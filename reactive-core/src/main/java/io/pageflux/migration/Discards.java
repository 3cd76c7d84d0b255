package io.pageflux.migration;

import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.util.ArrayList;
import java.util.List;
import reactor.core.publisher.Flux;

/** Says which pages the destination lacks, in records that ascend. */
final class Discards {

  private Discards() {}

  /** The records for a set of pages, made as they are asked for; the set does not change then. */
  static Flux<WireRecord> of(MemoryPages pages) {
    return Flux.range(0, pages.layout().blocks().size())
        .concatMap(block -> of(block, pages.of(block)), 1);
  }

  private static Flux<WireRecord> of(int block, PageSet pages) {
    return Flux.<WireRecord, Long>generate(
        () -> pages.nextSet(0),
        (from, sink) -> {
          List<WireRecord.Discard.Run> runs = new ArrayList<>();
          long first = from;
          while (first >= 0 && runs.size() < WireLimits.MAX_DISCARDED_RUNS) {
            long end = pages.nextClear(first);
            runs.add(new WireRecord.Discard.Run(first, end - first));
            first = pages.nextSet(end);
          }
          if (!runs.isEmpty()) {
            sink.next(new WireRecord.Discard(block, runs));
          }
          if (first < 0) {
            sink.complete();
          }
          return first;
        });
  }
}
