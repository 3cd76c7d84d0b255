package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Prints a captured stream, one direction of one connection or a snapshot, as text: a line per
 * record with the byte at which it begins, a line per type at the end with how many there were, and
 * last, if the stream is at fault, a line that begins with {@code error:}.
 *
 * <p><b>Memory bound:</b> 64 KiB for what is read and 1 MiB for the text about it, what a {@link
 * WireReader} takes, and one slab of the geometry that the stream's first LAYOUT declares, at most
 * 8.1 MiB. Batches are not decompressed.
 */
public final class WirePrinter {

  private static final int READ_BYTES = 64 << 10;
  private static final int MAX_TEXT_SHOWN = 200;

  private final Appendable out;
  private final WireReader reader = new WireReader(this::skipped);
  private final Map<String, Total> totals = new TreeMap<>();
  private final long[] pages = new long[PageKind.values().length];
  private final StringBuilder skippedLines = new StringBuilder();
  private long payloadBytes;
  private long storedBytes;
  private long nextRecordAt = WireFormat.PREAMBLE_BYTES;
  private @Nullable SlabPool pool;

  private static final class Total {
    private long records;
    private long bytes;
  }

  private WirePrinter(Appendable out) {
    this.out = out;
  }

  /**
   * Prints a file.
   *
   * @return whether the stream is in order
   * @throws IOException if the file cannot be read, or the text not be written
   */
  public static boolean print(Path file, Appendable out) throws IOException {
    try (InputStream in = Files.newInputStream(file)) {
      return print(in, out);
    }
  }

  /**
   * Prints a stream, to its end or its first fault.
   *
   * @param in read by the calling thread; not closed
   * @param out takes the text
   * @return whether the stream is in order
   * @throws IOException if the stream cannot be read, or the text not be written
   */
  public static boolean print(InputStream in, Appendable out) throws IOException {
    WirePrinter printer = new WirePrinter(out);
    try {
      return printer.run(in);
    } finally {
      printer.reader.close();
      if (printer.pool != null) {
        printer.pool.close();
      }
    }
  }

  private boolean run(InputStream in) throws IOException {
    MigrationException fault = null;
    try {
      printRecords(in);
    } catch (MigrationException e) {
      fault = e;
    }
    printSkipped();
    printTotals();
    if (fault != null) {
      out.append("error: %s: %s%n".formatted(fault.kind(), fault.getMessage()));
    }
    return fault == null;
  }

  private void printRecords(InputStream in) throws IOException {
    byte[] bytes = new byte[READ_BYTES];
    for (int n; (n = in.read(bytes)) >= 0; ) {
      ByteBuffer buffer = ByteBuffer.wrap(bytes, 0, n);
      for (WireRecord record; (record = reader.read(buffer)) != null; ) {
        print(record);
      }
      printSkipped();
    }
    reader.end();
  }

  private void printSkipped() throws IOException {
    out.append(skippedLines);
    skippedLines.setLength(0);
  }

  private void print(WireRecord record) throws IOException {
    printSkipped();
    long end = reader.recordOffset();
    String type = RecordType.of(record).name();
    out.append(line(type, nextRecordAt, end - nextRecordAt, describe(record)));
    count(type, end - nextRecordAt);
    nextRecordAt = end;
    if (record instanceof WireRecord.Layout layout && pool == null) {
      pool = new SlabPool(1, layout.geometry());
      reader.expectPages(layout.layout(), pool);
    } else if (record instanceof WireRecord.Pages batch) {
      count(batch.batch());
      batch.batch().release();
    }
  }

  private void skipped(int code, long offset, int recordBytes) {
    String type = "type " + code;
    skippedLines.append(line(type, offset, recordBytes, "unknown, optional: skipped"));
    count(type, recordBytes);
    nextRecordAt = offset + recordBytes;
  }

  private static String line(String type, long at, long bytes, String text) {
    return "%12d %-12s %9d bytes  %s".formatted(at, type, bytes, text).stripTrailing()
        + System.lineSeparator();
  }

  private void count(String type, long bytes) {
    Total total = totals.computeIfAbsent(type, _ -> new Total());
    total.records++;
    total.bytes += bytes;
  }

  private void count(PageBatch batch) {
    for (PageKind kind : PageKind.values()) {
      pages[kind.code()] += batch.count(kind);
    }
    payloadBytes += batch.payloadBytes();
    storedBytes += batch.storedBytes();
  }

  private static String describe(WireRecord record) {
    return switch (record) {
      case WireRecord.Hello hello ->
          "versions %d to %d, has %s, requires %s, session %s, channel %d of %d, from %s"
              .formatted(
                  hello.minVersion(),
                  hello.version(),
                  Feature.names(hello.features()),
                  Feature.names(hello.required()),
                  hello.session(),
                  hello.channel(),
                  hello.channels(),
                  text(hello.software()));
      case WireRecord.Layout layout ->
          "batches of %d pages and %d bytes, blocks %s"
              .formatted(
                  layout.geometry().maxPages(),
                  layout.geometry().payloadBytes(),
                  text(layout.layout().toString()));
      case WireRecord.RoundBegin begin ->
          "round %d%s, %d dirty pages"
              .formatted(begin.round(), begin.last() ? ", the last" : "", begin.pages());
      case WireRecord.Pages pages -> describe(pages.batch());
      case WireRecord.RoundEnd end ->
          "round %d, pages sent: %d zero, %d raw, %d delta"
              .formatted(end.round(), end.zero(), end.raw(), end.delta());
      case WireRecord.RoundAck ack ->
          "round %d, %d pages applied".formatted(ack.round(), ack.pages());
      case WireRecord.Progress progress ->
          "%d bytes taken, %d pages applied".formatted(progress.bytes(), progress.pages());
      case WireRecord.DeviceState state -> state.bytes().length + " bytes";
      case WireRecord.Stream stream -> stream.bytes().length + " bytes";
      case WireRecord.Offer offer ->
          "machine %s, process %d, blocks %s"
              .formatted(
                  offer.machine(),
                  offer.process(),
                  offer.blocks().stream().map(WireRecord.Offer.Block::block).toList());
      case WireRecord.End end ->
          "%d pages, %d bytes of device state".formatted(end.pages(), end.deviceStateBytes());
      case WireRecord.Prepared prepared -> prepared.pages() + " pages applied";
      case WireRecord.Failure failure -> failure.kind() + ": " + text(failure.message());
      case WireRecord.ResumePoint point ->
          point.round() == 0
              ? "from the beginning"
              : "round %d, %s"
                  .formatted(
                      point.round(),
                      point.complete()
                          ? "complete"
                          : "block %d up to page %d".formatted(point.block(), point.end()));
      case WireRecord.PageHashes hashes ->
          "block %d, pages %d to %d"
              .formatted(hashes.block(), hashes.first(), hashes.first() + hashes.count() - 1);
      case WireRecord.PostcopyAdvise advise ->
          "host pages of %d bytes, up to %d requests"
              .formatted(advise.hostPageBytes(), advise.maxRequests());
      case WireRecord.Discard discard ->
          "block %d, %d absent pages in %d runs from page %d on"
              .formatted(
                  discard.block(),
                  discard.runs().stream().mapToLong(WireRecord.Discard.Run::pages).sum(),
                  discard.runs().size(),
                  discard.runs().getFirst().first());
      case WireRecord.PostcopyBegin begin ->
          "%d pages, %d absent pages, %d bytes of device state"
              .formatted(begin.pages(), begin.absentPages(), begin.deviceStateBytes());
      case WireRecord.PageRequest request ->
          "block %d, %d pages from page %d on"
              .formatted(request.block(), request.count(), request.first());
      case WireRecord.PostcopyEnd end ->
          "%d pages pushed, %d on request".formatted(end.pushed(), end.requested());
      case WireRecord.PostcopyComplete complete -> complete.pages() + " absent pages have come";
      case WireRecord.GuestRuns runs ->
          "%d of %d absent pages are missing, %d were written by the guest"
              .formatted(runs.missingPages(), runs.absentPages(), runs.ownedPages());
      case WireRecord.PostcopyResume resume -> resume.missingPages() + " missing pages follow";
      case WireRecord.PostcopyListen _,
          WireRecord.Ready _,
          WireRecord.Commit _,
          WireRecord.Running _,
          WireRecord.KeepAlive _,
          WireRecord.StreamEnd _ ->
          "";
    };
  }

  private static String describe(PageBatch batch) {
    int placed = batch.count(PageKind.PLACED);
    return "block %d %s, pages %d to %d: %d zero, %d raw, %d delta%s, %d bytes%s"
        .formatted(
            batch.blockIndex(),
            text(batch.block().name()),
            batch.page(0),
            batch.page(batch.size() - 1),
            batch.count(PageKind.ZERO),
            batch.count(PageKind.RAW),
            batch.count(PageKind.DELTA),
            placed == 0 ? "" : ", " + placed + " placed",
            batch.payloadBytes(),
            batch.isCompressed() ? " in " + batch.storedBytes() + " of zstd" : "");
  }

  private static String text(String text) {
    int length = text.codePointCount(0, text.length());
    if (length <= MAX_TEXT_SHOWN) {
      return '"' + Texts.printable(text) + '"';
    }
    String start = text.substring(0, text.offsetByCodePoints(0, MAX_TEXT_SHOWN));
    return '"'
        + Texts.printable(start)
        + "\" and "
        + (length - MAX_TEXT_SHOWN)
        + " more characters";
  }

  private void printTotals() throws IOException {
    for (Map.Entry<String, Total> entry : totals.entrySet()) {
      Total total = entry.getValue();
      out.append(
          "%12s %-12s %9d bytes  %d %s%s%n"
              .formatted(
                  "total",
                  entry.getKey(),
                  total.bytes,
                  total.records,
                  total.records == 1 ? "record" : "records",
                  ofPages(entry)));
    }
  }

  private String ofPages(Map.Entry<String, Total> entry) {
    if (!entry.getKey().equals(RecordType.PAGES.name())) {
      return "";
    }
    long placed = pages[PageKind.PLACED.code()];
    return ", %d zero, %d raw, %d delta%s pages, contents of %d bytes in %d"
        .formatted(
            pages[PageKind.ZERO.code()],
            pages[PageKind.RAW.code()],
            pages[PageKind.DELTA.code()],
            placed == 0 ? "" : ", " + placed + " placed",
            payloadBytes,
            storedBytes);
  }
}
