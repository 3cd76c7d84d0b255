package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Takes the bodies of PAGES records into slabs, and reads them there.
 *
 * <p>The contents come to lie where the writer of a batch would have them, after the headroom: so
 * they are aligned, and a batch that was received can be sent on as it is.
 */
final class PagesReader {

  private final List<RamBlockLayout> blocks;
  private final SlabPool pool;
  private final BatchGeometry geometry;
  private final long features;

  /** What comes first in the body. It says where in the slab the body must begin. */
  private final ByteBuffer first = ByteBuffer.allocate(RecordType.Sizes.PAGES);

  private @Nullable Lease lease;
  private @Nullable ByteBuffer body;
  private int bodyBytes;
  private int start;

  PagesReader(RamLayout layout, SlabPool pool, long features) {
    this.blocks = layout.blocks();
    this.pool = pool;
    this.geometry = pool.geometry();
    this.features = features;
  }

  /** The longest body that fits a slab of the pool. */
  int maxBodyBytes() {
    return RecordType.Sizes.PAGES
        + geometry.maxPages() * (RecordType.Sizes.RUN + RecordType.Sizes.DELTA_LENGTH)
        + geometry.payloadBytes();
  }

  /** Leases a slab for a body, whose length was checked. */
  void begin(int bodyBytes, Place place, long at) {
    lease = pool.tryAcquire();
    if (lease == null) {
      throw place.error(
          Kind.INTERNAL,
          at,
          "all "
              + pool.capacity()
              + " slabs for received batches are in use: the pool is too"
              + " small for the batches that may be on their way to memory");
    }
    this.bodyBytes = bodyBytes;
    first.clear();
    body = null;
  }

  /** Takes what there is of the body. {@return how many bytes that was} */
  int take(ByteBuffer in, Checksum checksum) {
    int taken = 0;
    ByteBuffer into = body;
    if (into == null) {
      taken = checksum.move(in, first);
      if (first.hasRemaining()) {
        return taken;
      }
      into = begun();
      body = into;
    }
    return taken + checksum.move(in, into);
  }

  private ByteBuffer begun() {
    // Nothing of this is known to be undamaged yet. If it is not consistent, then any place will
    // do, for the body fits the slab; its checksum or its parsing fails later.
    int stored = first.getInt(12);
    int description = bodyBytes - stored;
    boolean plausible =
        stored >= 0
            && stored <= geometry.payloadBytes()
            && description >= RecordType.Sizes.PAGES
            && description <= geometry.headroomBytes();
    start = plausible ? geometry.headroomBytes() - description : 0;
    ByteBuffer into = leased().buffer().duplicate().limit(start + bodyBytes).position(start);
    return into.put(first.flip());
  }

  private Lease leased() {
    if (lease == null) {
      throw new IllegalStateException("no body was begun");
    }
    return lease;
  }

  /**
   * Reads the body, which is complete and whose checksum was right.
   *
   * @param at where in the stream the body begins
   * @return the batch, which now owns the slab
   */
  PageBatch finish(Place place, long at) {
    BodyReader in = reader(0, bodyBytes, place, at);
    int blockIndex = in.u32("the block's index", Integer.MAX_VALUE);
    if (blockIndex >= blocks.size()) {
      throw in.error(at, "block " + blockIndex + " of a layout of " + blocks.size());
    }
    int count = in.u16("the number of pages");
    if (count < 1 || count > geometry.maxPages()) {
      throw in.error(
          at + 4, "a batch of " + count + " pages, where 1 to " + geometry.maxPages() + " may be");
    }
    boolean compressed = encoding(in);
    in.zeros(1);
    int payload = in.u32("the length of the pages' contents", geometry.payloadBytes());
    int stored = in.u32("the length of the stored bytes", geometry.payloadBytes());
    checkStored(in, compressed, payload, stored);
    int runs = in.u32("the number of runs", count);

    int runsEnd = RecordType.Sizes.PAGES + runs * RecordType.Sizes.RUN;
    int description = bodyBytes - stored;
    if (description < runsEnd) {
      throw in.error(
          at + 12,
          "%d runs and %d stored bytes do not fit a body of %d bytes"
              .formatted(runs, stored, bodyBytes));
    }
    // The stored bytes end the body, so the description ends where they begin.
    BodyReader deltas = reader(runsEnd, description, place, at + runsEnd);
    PageBatch batch =
        new PageBatch(blockIndex, blocks.get(blockIndex), leased(), start + description, geometry);
    for (int i = 0; i < runs; i++) {
      appendRun(in, deltas, batch, count);
    }
    if (batch.size() != count) {
      throw in.error(
          at + 4, "the runs have %d pages, but %d were said".formatted(batch.size(), count));
    }
    deltas.end();
    if (batch.payloadBytes() != payload) {
      throw in.error(
          at + 8,
          "the pages' contents have %d bytes, but %d were said"
              .formatted(batch.payloadBytes(), payload));
    }
    if (compressed) {
      batch.markCompressed(stored);
    }
    lease = null;
    body = null;
    return batch;
  }

  private BodyReader reader(int from, int to, Place place, long at) {
    ByteBuffer part = leased().buffer().duplicate().limit(start + to).position(start + from);
    return new BodyReader(part, place, at);
  }

  private boolean encoding(BodyReader in) {
    int encoding = in.u8("the encoding");
    if (encoding > 1) {
      throw in.error(in.at() - 1, "encoding " + encoding + " is not known");
    }
    if (encoding == 1) {
      require(Feature.ZSTD, in, "a compressed batch");
    }
    return encoding == 1;
  }

  private void require(Feature feature, BodyReader in, String what) {
    if (!feature.in(features)) {
      throw in.error(in.at() - 1, what + ", but " + feature + " was not agreed upon");
    }
  }

  private static void checkStored(BodyReader in, boolean compressed, int payload, int stored) {
    if (compressed ? stored < 1 || stored > payload : stored != payload) {
      throw in.error(
          in.at() - 4,
          "%d bytes are stored for %d bytes of %s contents"
              .formatted(stored, payload, compressed ? "compressed" : "plain"));
    }
  }

  private void appendRun(BodyReader in, BodyReader deltas, PageBatch batch, int count) {
    long at = in.at();
    long page = in.u64("a run's first page");
    long length = in.u32("a run's length");
    if (length < 1 || length > count - batch.size()) {
      throw in.error(
          at + 8, "a run of %d pages after %d of %d".formatted(length, batch.size(), count));
    }
    int code = in.u8("a run's kind");
    long kindAt = in.at() - 1;
    in.zeros(3);
    try {
      PageKind kind = PageKind.ofCode(code);
      for (int i = 0; i < length; i++) {
        batch.append(page + i, kind, contentBytes(kind, batch, deltas));
      }
      if (kind == PageKind.DELTA && !Feature.XBZRLE.in(features)) {
        throw in.error(kindAt, "delta pages, but XBZRLE was not agreed upon");
      }
      if (kind == PageKind.PLACED && !Feature.SHARED_MEMORY.in(features)) {
        throw in.error(kindAt, "placed pages, but SHARED_MEMORY was not agreed upon");
      }
    } catch (IllegalArgumentException e) {
      throw in.error(at, String.valueOf(e.getMessage()));
    }
  }

  private static int contentBytes(PageKind kind, PageBatch batch, BodyReader deltas) {
    return switch (kind) {
      case ZERO, PLACED -> 0;
      case RAW -> batch.pageSizeBytes();
      case DELTA -> deltas.u32("a delta's length", batch.pageSizeBytes());
    };
  }

  /** Gives back the slab of a body that did not become a batch. */
  void discard() {
    Lease unfinished = lease;
    lease = null;
    body = null;
    if (unfinished != null) {
      unfinished.release();
    }
  }

  /** What a record of this type is to somebody who cannot read it yet. */
  static MigrationException premature(Place place, long at) {
    return place.error(Kind.PROTOCOL, at, "a batch of pages before the layout was agreed");
  }
}
