package io.pageflux.channel;

import io.pageflux.codec.ZstdBatchDecompressor;
import io.pageflux.operator.OrderedParallelMap;
import io.pageflux.wire.WireRecord;
import java.util.function.Function;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Scheduler;

/** Decompresses batches in one thread. One that cannot be is as good as nothing said. */
public final class RecordDecompressor implements OrderedParallelMap.Worker<WireRecord> {

  private final ZstdBatchDecompressor zstd = new ZstdBatchDecompressor();
  private final WireChannel channel;

  /**
   * {@return the operator that decompresses the batches among the records of a channel, in order}
   *
   * <p><b>Memory bound:</b> {@code 2 * workers} batches in flight, and a zstd context for each
   * worker; see {@link OrderedParallelMap}.
   *
   * @param channel learns of what cannot be decompressed
   * @param threads whose threads the workers are; not disposed
   */
  public static Function<Flux<WireRecord>, Flux<WireRecord>> of(
      WireChannel channel, int workers, Scheduler threads) {
    return OrderedParallelMap.of(
        workers,
        2 * workers,
        threads,
        () -> new RecordDecompressor(channel),
        record -> record instanceof WireRecord.Pages pages && pages.batch().isCompressed(),
        RecordDecompressor::release);
  }

  private RecordDecompressor(WireChannel channel) {
    this.channel = channel;
  }

  @Override
  public WireRecord apply(WireRecord record) {
    try {
      if (record instanceof WireRecord.Pages pages) {
        zstd.decompress(pages.batch());
      }
    } catch (RuntimeException | VirtualMachineError e) {
      release(record);
      channel.endOver(e);
    }
    return record;
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
