package io.pageflux.migration;

import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.convergence.ConvergenceMeter;
import io.pageflux.memory.MemoryPages;
import io.pageflux.operator.PageOperators;
import io.pageflux.page.PageBatch;
import io.pageflux.wire.Feature;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/** The way of a round's pages from memory to the wire: read, zero test, deltas, compression. */
final class OutgoingPages {

  private final OutgoingResources resources;
  private final OutgoingStatistics statistics;
  private final Placing placing;
  private final @Nullable OutgoingControl control;
  private final Scheduler timer;

  /** What was used in the last round. */
  private record Means(@Nullable XbzrleEncoder encoder, @Nullable CompressionSpec compression) {}

  // Used on the scanning thread.
  private Means means = new Means(null, null);

  /**
   * @param control who may pause the migration; null if nobody may
   * @param timer whose threads go on after a pause
   */
  OutgoingPages(
      OutgoingResources resources,
      OutgoingStatistics statistics,
      Placing placing,
      @Nullable OutgoingControl control,
      Scheduler timer) {
    this.control = control;
    this.timer = timer;
    this.resources = resources;
    this.statistics = statistics;
    this.placing = placing;
  }

  /**
   * The batches of a round, with what both sides can do.
   *
   * @param features what was agreed on
   * @param compression how contents are compressed in this round
   * @param round notes what was read
   * @param leave asked before each batch whether the rest is not to be read
   */
  Flux<PageBatch> of(
      MemoryPages pages,
      long features,
      @Nullable CompressionSpec compression,
      OutgoingRound round,
      BooleanSupplier leave) {
    XbzrleEncoder encoder = Feature.XBZRLE.in(features) ? resources.encoder : null;
    CompressionSpec agreed = Feature.ZSTD.in(features) ? compression : null;
    means = new Means(encoder, agreed);
    Flux<PageBatch> batches =
        resources
            .scanner
            .round(pages, leave)
            .doOnNext(round::read)
            .doOnNext(statistics::scanned)
            .transform(PageOperators.zeroPages());
    if (resources.saver != null) {
      batches = batches.transform(placing.through());
    }
    if (encoder != null) {
      batches = batches.transform(PageOperators.xbzrleEncode(encoder));
    }
    // Between the zero test and here nothing is queued, so what was read and does not come by is
    // known to be unchanged at any time.
    batches = batches.doOnNext(statistics::changed);
    if (agreed != null && resources.compressThreads != null) {
      batches =
          batches.transform(
              PageOperators.zstdCompress(
                  agreed.level(), agreed.workers(), resources.compressThreads));
    }
    return pausable(batches).doOnNext(statistics::batch);
  }

  /**
   * {@return what pages would be on the wire, by some of them that go the way of the last round's;
   * null if that cannot be seen} What a page saver takes is not known before.
   */
  ConvergenceMeter.@Nullable Sample tryOut(MemoryPages pages) {
    return resources.saver != null
        ? null
        : resources.trial.of(pages, means.encoder, means.compression);
  }

  /** Keeps the next batch back, and none itself, while the migration is paused. */
  private Flux<PageBatch> pausable(Flux<PageBatch> batches) {
    OutgoingControl asked = control;
    return asked == null
        ? batches
        : batches.concatMap(
            batch ->
                asked.isPaused()
                    ? Mono.just(batch)
                        .concatWith(asked.passed().publishOn(timer).then(Mono.empty()))
                    : Mono.just(batch).hide(), // else a cancel just now would lose it
            0);
  }
}
