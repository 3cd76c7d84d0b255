package io.pageflux.channel;

import io.pageflux.codec.ZstdBatchDecompressor;
import io.pageflux.operator.OrderedParallelMap;
import io.pageflux.wire.WireRecord;

/** Decompresses batches in one thread. One that cannot be is as good as nothing said. */
public final class RecordDecompressor implements OrderedParallelMap.Worker<WireRecord> {

  private final ZstdBatchDecompressor zstd = new ZstdBatchDecompressor();
  private final WireChannel channel;

  /** Makes one for the records of a channel, which learns of what cannot be decompressed. */
  public RecordDecompressor(WireChannel channel) {
    this.channel = channel;
  }

  @Override
  public WireRecord apply(WireRecord record) {
    try {
      if (record instanceof WireRecord.Pages pages) {
        zstd.decompress(pages.batch());
      }
    } catch (RuntimeException e) {
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
