package io.pageflux.wire;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.UUID;

/** Small streams for tests, and what was seen in them. */
final class Streams {

  static final BatchGeometry GEOMETRY = new BatchGeometry(8, 4096);

  static final RamLayout LAYOUT =
      new RamLayout(
          List.of(new RamBlockLayout("ram", 64 * 512, 512), new RamBlockLayout("röm", 1024, 1024)));

  static final WireRecord.Hello HELLO =
      new WireRecord.Hello(
          1,
          1,
          Feature.all(),
          Feature.ZSTD.mask(),
          UUID.fromString("00112233-4455-6677-8899-aabbccddeeff"),
          0,
          1,
          "pageflux 0.1");

  private Streams() {}

  /** A page for {@link #batch}: its index, kind and length. */
  record P(long page, PageKind kind, int length) {}

  static P zero(long page) {
    return new P(page, PageKind.ZERO, 0);
  }

  static P placed(long page) {
    return new P(page, PageKind.PLACED, 0);
  }

  static P raw(long page) {
    return new P(page, PageKind.RAW, 512);
  }

  static P delta(long page, int length) {
    return new P(page, PageKind.DELTA, length);
  }

  /** A batch of block 0 whose contents are random; compressed if {@code stored} is positive. */
  static WireRecord.Pages batch(SlabPool pool, Random random, int stored, P... pages) {
    Lease lease = Objects.requireNonNull(pool.tryAcquire(), "no slab is free");
    BatchGeometry geometry = pool.geometry();
    PageBatch batch =
        new PageBatch(0, LAYOUT.blocks().get(0), lease, geometry.headroomBytes(), geometry);
    for (P page : pages) {
      batch.append(page.page(), page.kind(), page.length());
    }
    if (stored > 0) {
      batch.markCompressed(stored);
    }
    byte[] contents = new byte[batch.storedBytes()];
    random.nextBytes(contents);
    batch.stored().copyFrom(MemorySegment.ofArray(contents));
    return new WireRecord.Pages(batch);
  }

  static WireRecord.Pages randomBatch(SlabPool pool, Random random) {
    List<P> pages = new ArrayList<>();
    int bytes = 0;
    long page = random.nextInt(8);
    for (int i = 1 + random.nextInt(GEOMETRY.maxPages()); i > 0; i--) {
      P next =
          switch (random.nextInt(3)) {
            case 0 -> zero(page);
            case 1 -> raw(page);
            default -> delta(page, 1 + random.nextInt(511));
          };
      pages.add(next);
      bytes += next.length();
      page += random.nextBoolean() ? 1 : 1 + random.nextInt(6);
    }
    int stored = bytes > 0 && random.nextBoolean() ? 1 + random.nextInt(bytes) : 0;
    return batch(pool, random, stored, pages.toArray(P[]::new));
  }

  /** A stream under construction. */
  static final class Builder {
    private final WireWriter writer = new WireWriter();
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    /** Where records end. */
    final List<Integer> ends = new ArrayList<>();

    /** What a reader must see. */
    final List<Object> expected = new ArrayList<>();

    Builder add(WireRecord record) {
      if (record instanceof WireRecord.Pages pages) {
        expected.add(Seen.of(pages.batch()));
      } else {
        expected.add(record);
      }
      TransportBuffer buffer = writer.write(record);
      byte[] copy = new byte[buffer.bytes().remaining()];
      buffer.bytes().get(copy);
      buffer.release();
      bytes.writeBytes(copy);
      ends.add(bytes.size());
      return this;
    }

    byte[] bytes() {
      return bytes.toByteArray();
    }
  }

  /** A stream that has all types of records and all kinds of batches. */
  static Builder everything(SlabPool pool, Random random) {
    Builder stream = new Builder();
    stream.add(HELLO).add(new WireRecord.Layout(LAYOUT, GEOMETRY)).add(new WireRecord.Ready());
    stream.add(new WireRecord.RoundBegin(1, true, 13));
    stream.add(batch(pool, random, 0, zero(0), zero(1), raw(2), delta(3, 40), delta(9, 1)));
    stream.add(batch(pool, random, 0, zero(60), zero(61), zero(63)));
    stream.add(batch(pool, random, 77, raw(2), delta(3, 511), zero(5), raw(6)));
    stream.add(batch(pool, random, 0, raw(62)));
    stream.add(new WireRecord.RoundEnd(1, 6, 4, 3));
    stream.add(new WireRecord.RoundAck(1, 13));
    stream.add(new WireRecord.Progress(1234567890123L, 12));
    stream.add(new WireRecord.DeviceState(new byte[] {1, 2, 3}));
    stream.add(new WireRecord.End(13, 3)).add(new WireRecord.Prepared(13));
    stream.add(new WireRecord.Commit()).add(new WireRecord.Running());
    stream.add(new WireRecord.Failure(MigrationException.Kind.GUEST, "no wäy"));
    stream.add(new WireRecord.KeepAlive());
    stream.add(new WireRecord.Stream(new byte[] {4, 5}));
    stream.add(batch(pool, random, 0, zero(1), placed(2), raw(3)));
    stream.add(new WireRecord.StreamEnd());
    return stream
        .add(
            new WireRecord.Offer(
                new UUID(1, 2),
                77,
                List.of(
                    new WireRecord.Offer.Block(0, 5, new UUID(3, 4)),
                    new WireRecord.Offer.Block(1, 0, new UUID(5, 6)))))
        .add(WireRecord.ResumePoint.BEGINNING)
        .add(new WireRecord.ResumePoint(7, false, 1, 1))
        .add(new WireRecord.PageHashes(1, 7, new byte[32]))
        .add(new WireRecord.PostcopyAdvise(4096, 256))
        .add(new WireRecord.PostcopyListen())
        .add(
            new WireRecord.Discard(
                1,
                List.of(new WireRecord.Discard.Run(0, 3), new WireRecord.Discard.Run(5, 1L << 40))))
        .add(new WireRecord.PostcopyBegin(13, 4, 3))
        .add(new WireRecord.PageRequest(1, 7, 2))
        .add(new WireRecord.PostcopyEnd(3, 1))
        .add(new WireRecord.PostcopyComplete(4))
        .add(new WireRecord.GuestRuns(9, 4, 5))
        .add(new WireRecord.PostcopyResume(4));
  }

  /** A record with right checksums, whatever its body is. */
  static byte[] sealed(int type, int flags, int sequence, byte[] body) {
    ByteBuffer record = ByteBuffer.allocate(RecordType.Sizes.HEADER + body.length);
    record.put(RecordType.Sizes.HEADER, body);
    WireFormat.putHeader(record, 0, type, flags, body.length, sequence, new Checksum());
    return record.array();
  }

  static byte[] concat(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }

  /** What a batch held. */
  record Seen(int block, boolean compressed, int payload, List<PageBatch.Page> pages, String hex) {
    static Seen of(PageBatch batch) {
      byte[] stored = batch.stored().toArray(ValueLayout.JAVA_BYTE);
      return new Seen(
          batch.blockIndex(),
          batch.isCompressed(),
          batch.payloadBytes(),
          batch.pages(),
          HexFormat.of().formatHex(stored));
    }
  }

  /** Reads what a buffer holds, expects pages as soon as there is a layout, and notes all. */
  static void read(WireReader reader, SlabPool pool, ByteBuffer in, List<Object> seen) {
    for (WireRecord record; (record = reader.read(in)) != null; ) {
      if (record instanceof WireRecord.Pages pages) {
        seen.add(Seen.of(pages.batch()));
        pages.batch().release();
      } else {
        seen.add(record);
      }
      if (record instanceof WireRecord.Layout layout) {
        reader.expectPages(layout.layout(), pool);
      }
    }
  }

  /** A reader that has read HELLO and expects pages: its next record is number 1. */
  static WireReader readerAfterHello(SlabPool pool) {
    WireReader reader = new WireReader();
    reader.read(ByteBuffer.wrap(new Builder().add(HELLO).bytes()));
    reader.expectPages(LAYOUT, pool);
    return reader;
  }

  static byte[] prefix(byte[] bytes, int length) {
    return Arrays.copyOf(bytes, length);
  }
}
