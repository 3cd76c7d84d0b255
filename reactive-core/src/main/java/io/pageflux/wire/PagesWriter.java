package io.pageflux.wire;

import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.nio.ByteBuffer;

/** Writes what a batch of pages holds into its slab, directly before the contents. */
final class PagesWriter {

  private PagesWriter() {}

  /**
   * The bytes of a batch's description.
   *
   * <p>A page takes at most one run and one delta's length, 20 bytes, so the description and the
   * record's header always fit the headroom of {@link io.pageflux.page.BatchGeometry}: 40 bytes and
   * 20 for each page, where that has 128 and 20.
   */
  static int descriptionBytes(PageBatch batch) {
    int runs = 0;
    int deltas = 0;
    for (int i = 0; i < batch.size(); i++) {
      if (!continuesRun(batch, i)) {
        runs++;
      }
      if (batch.kind(i) == PageKind.DELTA) {
        deltas++;
      }
    }
    return RecordType.Sizes.PAGES
        + runs * RecordType.Sizes.RUN
        + deltas * RecordType.Sizes.DELTA_LENGTH;
  }

  private static boolean continuesRun(PageBatch batch, int i) {
    return i > 0 && batch.page(i) == batch.page(i - 1) + 1 && batch.kind(i) == batch.kind(i - 1);
  }

  /**
   * Writes the description.
   *
   * @param out has exactly the bytes that it takes remaining
   */
  static void write(PageBatch batch, ByteBuffer out) {
    int start = out.position();
    out.putInt(batch.blockIndex());
    out.putShort((short) batch.size());
    out.put((byte) (batch.isCompressed() ? 1 : 0)).put((byte) 0);
    out.putInt(batch.payloadBytes()).putInt(batch.storedBytes());
    out.putInt(0); // the number of runs: below
    int runs = 0;
    for (int from = 0, to; from < batch.size(); from = to) {
      to = from + 1;
      while (to < batch.size() && continuesRun(batch, to)) {
        to++;
      }
      out.putLong(batch.page(from)).putInt(to - from);
      out.putInt(batch.kind(from).code() << 24); // one byte, and three that are zero
      runs++;
    }
    out.putInt(start + RecordType.Sizes.PAGES - 4, runs);
    for (int i = 0; i < batch.size(); i++) {
      if (batch.kind(i) == PageKind.DELTA) {
        out.putInt(batch.length(i));
      }
    }
  }
}
