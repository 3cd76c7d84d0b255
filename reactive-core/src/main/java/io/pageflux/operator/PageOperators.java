package io.pageflux.operator;

import io.pageflux.codec.DeltaDecoder;
import io.pageflux.codec.PageLoader;
import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.ZeroTest;
import io.pageflux.codec.ZstdBatchCompressor;
import io.pageflux.codec.ZstdBatchDecompressor;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.PageRewriter;
import java.util.function.Consumer;
import java.util.function.Function;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * What is done to page batches between the scanner and the wire, and back.
 *
 * <pre>{@code
 * scanner.round(dirty)
 *     .transform(PageOperators.zeroPages())
 *     .transform(PageOperators.xbzrleEncode(encoder))
 *     .transform(PageOperators.zstdCompress(1, 2, workers))
 * }</pre>
 *
 * <p>Unless an operator says otherwise: <b>demand</b> is passed through one to one; <b>ordering and
 * threading</b> are the source's, and the work is done in {@code onNext}; no batch is held, so the
 * <b>memory bound</b> is none and there is nothing to <b>discard</b>; a batch that fails is
 * released before the <b>error</b>, a {@link io.pageflux.MigrationException}, is emitted.
 */
public final class PageOperators {

  private PageOperators() {}

  private static Function<Flux<PageBatch>, Flux<PageBatch>> inPlace(Consumer<PageBatch> work) {
    return source ->
        source.map(
            batch -> {
              try {
                work.accept(batch);
                return batch;
              } catch (RuntimeException | Error e) {
                batch.release();
                throw e;
              }
            });
  }

  /**
   * {@return the operator that finds the raw pages that are all zeros and makes them zero pages}
   */
  public static Function<Flux<PageBatch>, Flux<PageBatch>> zeroPages() {
    return inPlace(PageOperators::findZeroPages);
  }

  private static void findZeroPages(PageBatch batch) {
    for (PageRewriter page = batch.rewrite(); page.next(); ) {
      if (page.kind() == PageKind.RAW
          && ZeroTest.isZero(page.slab(), page.offset(), page.length())) {
        page.toZero();
      }
    }
  }

  /**
   * {@return the operator that replaces raw pages by how they differ from what was sent of them
   * before} Pages that do not differ leave their batch; batches without pages are released and left
   * out.
   *
   * <p><b>Memory bound:</b> the encoder's cache.
   *
   * @param encoder has the cache; for one stream at a time, and the caller's to close after it.
   *     What passes through here must be what is sent, in this order.
   */
  public static Function<Flux<PageBatch>, Flux<PageBatch>> xbzrleEncode(XbzrleEncoder encoder) {
    return source ->
        source
            .transform(inPlace(encoder::encode))
            .handle(
                (batch, sink) -> {
                  if (batch.isEmpty()) {
                    batch.release();
                  } else {
                    sink.next(batch);
                  }
                });
  }

  /**
   * {@return the operator that turns delta pages back into raw ones} The base is what {@code
   * memory} holds, so each batch must have been {@linkplain #load loaded} before the next one comes
   * here: no queue and no thread hop between the two.
   *
   * @param memory the destination's memory
   */
  public static Function<Flux<PageBatch>, Flux<PageBatch>> xbzrleDecode(GuestMemory memory) {
    DeltaDecoder decoder = new DeltaDecoder();
    return inPlace(batch -> decoder.expand(batch, memory));
  }

  /**
   * {@return the operator that compresses each batch's contents, raw pages and deltas alike, into
   * one zstd frame} Batches that would not become smaller stay as they are.
   *
   * <p><b>Demand, memory bound, ordering and threading, discard and cancel:</b> as {@link
   * OrderedParallelMap} with {@code 2 * workers} batches in flight; each worker has a zstd context
   * and a scratch buffer of direct memory of its own.
   *
   * @param level zstd's level, negative ones (fast) included
   * @param workers how many threads compress
   * @param scheduler whose threads they are; not disposed
   */
  public static Function<Flux<PageBatch>, Flux<PageBatch>> zstdCompress(
      int level, int workers, Scheduler scheduler) {
    return OrderedParallelMap.of(
        workers,
        2 * workers,
        scheduler,
        () -> compressor(level),
        batch -> batch.storedBytes() > 0 && !batch.isCompressed(),
        PageBatch::release);
  }

  private static OrderedParallelMap.Worker<PageBatch> compressor(int level) {
    ZstdBatchCompressor compressor = new ZstdBatchCompressor(level);
    return new OrderedParallelMap.Worker<>() {
      @Override
      public PageBatch apply(PageBatch batch) {
        compressor.compress(batch);
        return batch;
      }

      @Override
      public void close() {
        compressor.close();
      }
    };
  }

  /**
   * {@return the operator that decompresses what {@link #zstdCompress} compressed}
   *
   * <p><b>Demand, memory bound, ordering and threading, discard and cancel:</b> as {@link
   * OrderedParallelMap} with {@code 2 * workers} batches in flight.
   *
   * @param workers how many threads decompress
   * @param scheduler whose threads they are; not disposed
   */
  public static Function<Flux<PageBatch>, Flux<PageBatch>> zstdDecompress(
      int workers, Scheduler scheduler) {
    return OrderedParallelMap.of(
        workers,
        2 * workers,
        scheduler,
        PageOperators::decompressor,
        PageBatch::isCompressed,
        PageBatch::release);
  }

  private static OrderedParallelMap.Worker<PageBatch> decompressor() {
    ZstdBatchDecompressor decompressor = new ZstdBatchDecompressor();
    return new OrderedParallelMap.Worker<>() {
      @Override
      public PageBatch apply(PageBatch batch) {
        decompressor.decompress(batch);
        return batch;
      }

      @Override
      public void close() {
        decompressor.close();
      }
    };
  }

  /**
   * {@return the end of a pipeline: writes each batch to memory and releases it}
   *
   * <p><b>Demand:</b> unbounded; the batches' slabs are the bound.
   *
   * @param loader writes to the memory
   */
  public static Function<Flux<PageBatch>, Mono<Void>> load(PageLoader loader) {
    return source ->
        source
            .doOnNext(
                batch -> {
                  try {
                    loader.load(batch);
                  } finally {
                    batch.release();
                  }
                })
            .then();
  }
}
