package io.pageflux.qemu.stream;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What a reader makes of some bytes, as text, so that two runs can be compared. */
record ReaderRun(List<String> elements, List<String> pages, @Nullable MigrationException error) {

  static final BatchGeometry GEOMETRY = new BatchGeometry(8, 8 * StreamBytes.PAGE);

  static ReaderRun of(byte[] stream) {
    return of(stream, stream.length, false);
  }

  /**
   * Reads a stream to its end, in chunks of a size, and checks that no slab is lost.
   *
   * @param flush whether to ask for the complete pages after each chunk
   */
  static ReaderRun of(byte[] stream, int chunk, boolean flush) {
    List<String> elements = new ArrayList<>();
    List<String> pages = new ArrayList<>();
    MigrationException error = null;
    try (SlabPool pool = new SlabPool(1, GEOMETRY)) {
      try (QemuStreamReader reader = new QemuStreamReader(GEOMETRY)) {
        for (int at = 0; at < stream.length; at += chunk) {
          ByteBuffer in = ByteBuffer.wrap(stream, at, Math.min(chunk, stream.length - at));
          take(reader, in, pool, elements, pages);
          if (flush) {
            add(reader.flush(), elements, pages);
          }
        }
        while (add(reader.end(), elements, pages)) {}
      } catch (MigrationException e) {
        error = e;
      }
      assertThat(pool.outstanding()).isZero();
    }
    return new ReaderRun(elements, pages, error);
  }

  private static void take(
      QemuStreamReader reader,
      ByteBuffer in,
      SlabPool pool,
      List<String> elements,
      List<String> pages) {
    while (true) {
      if (add(reader.read(in), elements, pages)) {
        continue;
      }
      if (!reader.needsSlab()) {
        assertThat(in.hasRemaining()).isFalse();
        return;
      }
      reader.supply(Objects.requireNonNull(pool.tryAcquire()));
    }
  }

  private static boolean add(
      @Nullable QemuElement element, List<String> elements, List<String> pages) {
    if (element == null) {
      return false;
    }
    if (element instanceof QemuElement.Pages some) {
      elements.add("Pages@" + some.offset() + some.batch().pages().size());
      pages.addAll(describe(some.batch()));
    } else {
      elements.add(
          element.getClass().getSimpleName()
              + "@"
              + element.offset()
              + ":"
              + HexFormat.of().formatHex(bytes(element.raw())));
    }
    element.release();
    return true;
  }

  static byte[] bytes(ByteBuffer buffer) {
    byte[] bytes = new byte[buffer.remaining()];
    buffer.duplicate().get(bytes);
    return bytes;
  }

  /** A batch's pages one by one: {@code pc.ram 3 RAW <hash>}. */
  static List<String> describe(PageBatch batch) {
    List<String> pages = new ArrayList<>();
    int at = batch.payloadOffset();
    for (int i = 0; i < batch.size(); i++) {
      String contents =
          batch.kind(i) == PageKind.ZERO
              ? ""
              : " " + hash(bytes(batch.lease().buffer().slice(at, batch.length(i))));
      pages.add(batch.block().name() + " " + batch.page(i) + " " + batch.kind(i) + contents);
      at += batch.length(i);
    }
    return pages;
  }

  static String raw(String block, long page, byte[] contents) {
    return block + " " + page + " RAW " + hash(contents);
  }

  static String delta(String block, long page, byte[] encoded) {
    return block + " " + page + " DELTA " + hash(encoded);
  }

  static String zero(String block, long page) {
    return block + " " + page + " ZERO";
  }

  private static String hash(byte[] contents) {
    return contents.length + ":" + Integer.toHexString(java.util.Arrays.hashCode(contents));
  }

  MigrationException failure() {
    return Objects.requireNonNull(error, "the reader accepted the stream");
  }
}
