package io.pageflux.channel;

import io.pageflux.codec.ZstdBatchDecompressor;
import io.pageflux.operator.OrderedParallelMap;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.wire.WireRecord;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Scheduler;

/** Decompresses batches in one thread. One that cannot be is as good as nothing said. */
public final class RecordDecompressor implements OrderedParallelMap.Worker<WireRecord> {

  private final ZstdBatchDecompressor zstd = new ZstdBatchDecompressor();
  private final WireChannel channel;
  private final Supplier<? extends @Nullable Lease> slabs;

  /**
   * {@return the operator that decompresses the batches among the records of a channel, in order}
   *
   * <p><b>Memory bound:</b> {@code 2 * workers} batches in flight, and a zstd context and scratch
   * for each worker; see {@link OrderedParallelMap}.
   *
   * @param channel learns of what cannot be decompressed
   * @param threads whose threads the workers are; not disposed
   */
  public static Function<Flux<WireRecord>, Flux<WireRecord>> of(
      WireChannel channel, int workers, Scheduler threads) {
    return of(channel, workers, threads, () -> null);
  }

  /**
   * {@return the same, which spares a copy of each batch where there is a second slab for it}
   *
   * <p><b>Memory bound:</b> {@code 2 * workers} batches in flight, a slab and a zstd context for
   * each worker, and its scratch if there was no slab once.
   *
   * @param slabs leases a slab to decompress a batch into, as large as the batch's own, which is
   *     given back then; null if there is none
   */
  public static Function<Flux<WireRecord>, Flux<WireRecord>> of(
      WireChannel channel,
      int workers,
      Scheduler threads,
      Supplier<? extends @Nullable Lease> slabs) {
    return OrderedParallelMap.of(
        workers,
        2 * workers,
        threads,
        () -> new RecordDecompressor(channel, slabs),
        record -> record instanceof WireRecord.Pages pages && pages.batch().isCompressed(),
        RecordDecompressor::release);
  }

  private RecordDecompressor(WireChannel channel, Supplier<? extends @Nullable Lease> slabs) {
    this.channel = channel;
    this.slabs = slabs;
  }

  @Override
  public WireRecord apply(WireRecord record) {
    try {
      if (record instanceof WireRecord.Pages pages) {
        decompress(pages.batch());
      }
    } catch (RuntimeException | VirtualMachineError e) {
      release(record);
      channel.endOver(e);
    }
    return record;
  }

  private void decompress(PageBatch batch) {
    Lease into = slabs.get();
    if (into == null) {
      zstd.decompress(batch);
      return;
    }
    try {
      zstd.decompress(batch, into);
    } catch (RuntimeException | Error e) {
      into.release();
      throw e;
    }
  }

  @Override
  public void close() {
    zstd.close();
  }

  /** Gives back what a record holds that nobody will take. */
  public static void release(WireRecord record) {
    if (record instanceof WireRecord.Pages pages) {
      pages.batch().release();
    }
  }
}
