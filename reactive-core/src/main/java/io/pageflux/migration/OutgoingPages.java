package io.pageflux.migration;

import io.pageflux.memory.MemoryPages;
import io.pageflux.operator.PageOperators;
import io.pageflux.page.PageBatch;
import io.pageflux.wire.Feature;
import reactor.core.publisher.Flux;

/** The way of a round's pages from memory to the wire: read, zero test, deltas, compression. */
final class OutgoingPages {

  private final OutgoingSpec spec;
  private final OutgoingResources resources;
  private final OutgoingStatistics statistics;
  private final Placing placing;

  OutgoingPages(
      OutgoingSpec spec,
      OutgoingResources resources,
      OutgoingStatistics statistics,
      Placing placing) {
    this.spec = spec;
    this.resources = resources;
    this.statistics = statistics;
    this.placing = placing;
  }

  /**
   * The batches of a round, with what both sides can do.
   *
   * @param features what was agreed on
   */
  Flux<PageBatch> of(MemoryPages pages, long features) {
    Flux<PageBatch> batches =
        resources
            .scanner
            .round(pages)
            .doOnNext(statistics::scanned)
            .transform(PageOperators.zeroPages())
            .doOnNext(statistics::withoutZeros);
    if (resources.saver != null) {
      batches = batches.transform(placing.through());
    }
    if (resources.encoder != null && Feature.XBZRLE.in(features)) {
      batches = batches.transform(PageOperators.xbzrleEncode(resources.encoder));
    }
    // Between the zero test and here nothing is queued, so what was read and does not come by is
    // known to be unchanged at any time.
    batches = batches.doOnNext(statistics::changed);
    CompressionSpec compression = spec.compression();
    if (compression != null && resources.compressThreads != null && Feature.ZSTD.in(features)) {
      batches =
          batches.transform(
              PageOperators.zstdCompress(
                  compression.level(), compression.workers(), resources.compressThreads));
    }
    return batches.doOnNext(statistics::batch);
  }
}
