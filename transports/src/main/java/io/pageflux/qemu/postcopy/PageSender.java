package io.pageflux.qemu.postcopy;

import static java.lang.foreign.MemorySegment.copy;

import io.pageflux.codec.ZeroTest;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.qemu.stream.QemuStreamWriter;
import io.pageflux.transport.TransportBuffer;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

/**
 * Reads pages from the capture, and sends them: zeros as such, all others whole.
 *
 * <p>A page's contents are read from the file into a slab, and the slab is what the transport
 * writes: they are not copied in between.
 *
 * <p><b>Threading:</b> for the session's thread.
 */
final class PageSender {

  /**
   * How much is sent at once in the background. What is on its way cannot be overtaken: two of
   * these take 260 us on a link of 1 Gbit/s, and half of them would slow the background down.
   */
  static final int BATCH_BYTES = 16 << 10;

  private final CapturedGuest guest;
  private final ServiceTimes.Recorder serviceTimes;
  private QemuStreamWriter writer;
  private long requestedBytes;
  private long backgroundBytes;
  private long zeroPages;
  private long wholePages;

  PageSender(CapturedGuest guest, ServiceTimes.Recorder serviceTimes) {
    this.guest = guest;
    this.serviceTimes = serviceTimes;
    this.writer = new QemuStreamWriter(guest.sectionId(), 0);
  }

  /** {@return how large the batches for pages of a size are} */
  static BatchGeometry geometry(int pageSizeBytes) {
    int bytes = Math.max(Math.max(BATCH_BYTES, pageSizeBytes), 4096);
    return new BatchGeometry(Math.max(1, bytes / pageSizeBytes), bytes);
  }

  /** Begins a connection, on which nothing has been said yet. {@return what writes to it} */
  QemuStreamWriter begin() {
    writer = new QemuStreamWriter(guest.sectionId(), 0);
    return writer;
  }

  /** Sends pages. {@return how many bytes those are} */
  long send(PagesLeft.Run run, DestinationLine line) throws IOException, InterruptedException {
    RamBlockLayout block = guest.layout().blocks().get(run.block());
    int most = line.slabs().geometry().pagesPerBatch(block.pageSizeBytes());
    long before = writer.bytesOfPages();
    for (long from = run.from(); from < run.to(); from += most) {
      line.awaitRoom(DestinationLine.MAX_BUFFERS - 1);
      int count = (int) Math.min(most, run.to() - from);
      TransportBuffer records = writer.pages(read(run.block(), block, from, count, line));
      boolean last = from + count == run.to();
      line.send(
          records,
          !run.requested(),
          () -> {
            if (last && run.requested()) {
              serviceTimes.record(System.nanoTime() - run.sinceNanos());
            }
          });
    }
    long bytes = writer.bytesOfPages() - before;
    if (run.requested()) {
      requestedBytes += bytes;
    } else {
      backgroundBytes += bytes;
    }
    return bytes;
  }

  private PageBatch read(
      int index, RamBlockLayout block, long from, int count, DestinationLine line)
      throws IOException {
    Lease lease = line.slabs().tryAcquire();
    if (lease == null) {
      throw new IllegalStateException("more buffers are on their way than there are slabs");
    }
    BatchGeometry geometry = line.slabs().geometry();
    PageBatch batch = new PageBatch(index, block, lease, geometry.headroomBytes(), geometry);
    try {
      fill(batch, from, count);
      return batch;
    } catch (IOException | RuntimeException | Error e) {
      batch.release();
      throw e;
    }
  }

  private void fill(PageBatch batch, long from, int count) throws IOException {
    int pageSize = batch.pageSizeBytes();
    int start = batch.payloadOffset();
    ByteBuffer contents = batch.lease().buffer().slice(start, count * pageSize);
    guest.readRam(batch.blockIndex(), from * pageSize, contents);
    MemorySegment slab = batch.slab();
    long to = start;
    for (int i = 0; i < count; i++) {
      long at = start + (long) i * pageSize;
      if (ZeroTest.isZero(slab, at, pageSize)) {
        batch.append(from + i, PageKind.ZERO, 0);
        zeroPages++;
      } else {
        if (at != to) {
          copy(slab, at, slab, to, pageSize); // contents have no gaps
        }
        to += pageSize;
        batch.append(from + i, PageKind.RAW, pageSize);
        wholePages++;
      }
    }
  }

  long requestedBytes() {
    return requestedBytes;
  }

  long backgroundBytes() {
    return backgroundBytes;
  }

  long zeroPages() {
    return zeroPages;
  }

  long wholePages() {
    return wholePages;
  }
}
