package io.pageflux.codec;

/** Counts for {@link XbzrleCounters}; all methods may be called from any thread. */
final class XbzrleMeter {

  private final long cacheSizeBytes;
  private final int pageSizeBytes;

  // All below is guarded by this meter's monitor, which is taken once per batch.
  private long bytes;
  private long pages;
  private long cacheMiss;
  private long overflow;
  private double cacheMissRate;
  private double encodingRate;
  private long bytesBefore;
  private long pagesBefore;
  private long cacheMissBefore;

  XbzrleMeter(long cacheSizeBytes, int pageSizeBytes) {
    this.cacheSizeBytes = cacheSizeBytes;
    this.pageSizeBytes = pageSizeBytes;
  }

  synchronized void add(long newPages, long newBytes, long newMisses, long newOverflows) {
    pages += newPages;
    bytes += newBytes;
    cacheMiss += newMisses;
    overflow += newOverflows;
  }

  synchronized void endPeriod(long targetPages) {
    if (targetPages <= 0) {
      return; // As in QEMU: a period without pages says nothing, and the next one takes it in.
    }
    cacheMissRate = (double) (cacheMiss - cacheMissBefore) / targetPages;
    long encoded = bytes - bytesBefore;
    encodingRate = encoded == 0 ? 0 : (double) ((pages - pagesBefore) * pageSizeBytes) / encoded;
    cacheMissBefore = cacheMiss;
    bytesBefore = bytes;
    pagesBefore = pages;
  }

  synchronized XbzrleCounters counters() {
    return new XbzrleCounters(
        cacheSizeBytes, bytes, pages, cacheMiss, cacheMissRate, encodingRate, overflow);
  }
}
