package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Batches of pages that are wrong under right checksums are refused, with the reason. */
class WireHostilePagesTest {
  private final SlabPool pool = new SlabPool(2, Streams.GEOMETRY);

  @AfterEach
  void noSlabIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  /** The body of a PAGES record, which is in order until something is changed. */
  private static final class Body {
    private int block;
    private int count = 3;
    private int encoding;
    private int reserved;
    private int payload = 512 + 40;
    private int stored = 512 + 40;
    private int runs = 3;
    private long[][] run = {{5, 1, 1}, {7, 1, 0}, {8, 1, 2}};
    private int[] lengths = {40};
    private int contents = 512 + 40;

    byte[] bytes() {
      ByteBuffer out = ByteBuffer.allocate(20 + run.length * 16 + lengths.length * 4 + contents);
      out.putInt(block).putShort((short) count).put((byte) encoding).put((byte) reserved);
      out.putInt(payload).putInt(stored).putInt(runs);
      for (long[] r : run) {
        out.putLong(r[0]).putInt((int) r[1]).putInt((int) r[2] << 24);
      }
      for (int length : lengths) {
        out.putInt(length);
      }
      return out.array();
    }
  }

  private interface Change {
    void make(Body body);
  }

  private void refuses(String message, Change change) {
    Body body = new Body();
    change.make(body);
    refusesRecord(message, RecordType.PAGES.code(), 0, body.bytes());
  }

  private void refusesRecord(String message, int type, int flags, byte[] body) {
    byte[] record = Streams.sealed(type, flags, 1, body);
    Throwable error =
        catchThrowable(() -> Streams.readerAfterHello(pool).read(ByteBuffer.wrap(record)));
    assertThat(error)
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining(message)
        .hasMessageContaining("(at byte ")
        .hasMessageContaining(" record 1 from byte 82)");
    assertThat(((MigrationException) error).kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(pool.outstanding()).isZero();
  }

  @Test
  void theUnchangedBodyIsInOrder() {
    byte[] record = Streams.sealed(RecordType.PAGES.code(), 0, 1, new Body().bytes());
    WireRecord read = Streams.readerAfterHello(pool).read(ByteBuffer.wrap(record));
    assertThat(read).isInstanceOf(WireRecord.Pages.class);
    ((WireRecord.Pages) Objects.requireNonNull(read)).batch().release();
  }

  @Test
  void batchesThatContradictThemselvesAreRefused() {
    refuses("block 2 of a layout of 2", b -> b.block = 2);
    refuses("the block's index is 4294967295", b -> b.block = -1);
    refuses("a batch of 0 pages", b -> b.count = 0);
    refuses("a batch of 9 pages, where 1 to 8 may be", b -> b.count = 9);
    refuses("the runs have 3 pages, but 4 were said", b -> b.count = 4);
    refuses("encoding 2 is not known", b -> b.encoding = 2);
    refuses("a reserved byte is not zero", b -> b.reserved = 1);
    refuses("the length of the pages' contents is 4097, but at most 4096", b -> b.payload = 4097);
    refuses("the length of the stored bytes is 4294967295", b -> b.stored = -1);
    // The body's length is within bounds, and yet it would not fit the slab after the headroom.
    refuses("stored bytes is 4100, but at most 4096", b -> b.stored = b.contents = 4100);
    refuses("551 bytes are stored for 552 bytes of plain", b -> b.stored--);
    refuses("552 bytes are stored for 551 bytes of plain", b -> b.payload--);
    refuses("3 runs and 4096 stored bytes do not fit", b -> b.payload = b.stored = 4096);
    refuses("1 bytes too many", b -> b.contents++);
    refuses("the body ends before a delta's length", b -> b.contents--);
  }

  @Test
  void runsThatContradictThePagesAreRefused() {
    refuses("the number of runs is 4, but at most 3", b -> b.runs = 4);
    refuses("the number of runs is 4294967295", b -> b.runs = -1);
    refuses("the runs have 0 pages, but 3 were said", b -> b.runs = 0);
    refuses(
        "16 bytes too many",
        b -> {
          b.runs = 2;
          b.count = 2;
          b.payload = b.stored = 512;
          b.contents = 512 - 4;
        });
    refuses("a run of 0 pages after 1 of 3", b -> b.run[1][1] = 0);
    refuses("a run of 3 pages after 1 of 3", b -> b.run[1][1] = 3);
    refuses("a run of 4294967295 pages", b -> b.run[0][1] = -1);
    refuses("no page kind has the code 4", b -> b.run[0][2] = 4);
    refuses("page 5 of block 'ram' follows page 5", b -> b.run[1][0] = 5);
    refuses("page 4 of block 'ram' follows page 5", b -> b.run[1][0] = 4);
    refuses("page 64 is outside block 'ram' of 64 pages", b -> b.run[2][0] = 64);
    refuses("page -1 is outside block", b -> b.run[0][0] = -1);
    refuses("is outside block", b -> b.run[0][0] = Long.MAX_VALUE);
    refuses("is outside block", b -> b.run[0][0] = Long.MIN_VALUE);
    // Of the other block's only page, which is larger.
    refuses("page 5 is outside block 'röm' of 1 pages", b -> b.block = 1);
  }

  @Test
  void lengthsThatContradictThePagesAreRefused() {
    refuses("cannot be DELTA in 0 bytes", b -> b.lengths[0] = 0);
    refuses("a delta's length is 513, but at most 512", b -> b.lengths[0] = 513);
    refuses("a delta's length is 4294967295, but at most 512", b -> b.lengths[0] = -1);
    refuses("the pages' contents have 551 bytes, but 552 were said", b -> b.lengths[0] = 39);
    refuses("4 bytes too many", b -> b.lengths = new int[] {40, 40});
    refuses("the body ends before a delta's length", b -> b.lengths = new int[0]);
    refuses(
        "the pages' contents have 0 bytes, but 552 were said",
        b -> {
          b.run = new long[][] {{5, 3, 0}};
          b.runs = 1;
          b.lengths = new int[0];
        });
  }

  @Test
  void compressedBatchesThatContradictThemselvesAreRefused() {
    refuses(
        "553 bytes are stored for 552 bytes of compressed",
        b -> {
          b.encoding = 1;
          b.stored = b.contents = 553;
        });
    refuses(
        "0 bytes are stored for 552 bytes of compressed",
        b -> {
          b.encoding = 1;
          b.stored = b.contents = 0;
        });
    refuses(
        "0 bytes are stored for 0 bytes of compressed",
        b -> {
          b.encoding = 1;
          b.payload = b.stored = b.contents = 0;
          b.run = new long[][] {{5, 3, 0}};
          b.runs = 1;
          b.lengths = new int[0];
        });
  }

  @Test
  void whatWasNotAgreedUponIsRefused() {
    byte[] hello = new Streams.Builder().add(Streams.HELLO).bytes();
    for (Feature missing : List.of(Feature.XBZRLE, Feature.ZSTD)) {
      Body body = new Body();
      body.encoding = missing == Feature.ZSTD ? 1 : 0;
      byte[] record = Streams.sealed(RecordType.PAGES.code(), 0, 1, body.bytes());
      WireReader reader = new WireReader();
      reader.read(ByteBuffer.wrap(hello));
      reader.expectPages(Streams.LAYOUT, pool, Feature.all() & ~missing.mask());
      assertThatThrownBy(() -> reader.read(ByteBuffer.wrap(record)))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining(missing + " was not agreed upon");
    }
  }

  @Test
  void batchesBeforeTheLayoutAreRefused() {
    WireReader reader = new WireReader();
    reader.read(ByteBuffer.wrap(new Streams.Builder().add(Streams.HELLO).bytes()));
    byte[] record = Streams.sealed(RecordType.PAGES.code(), 0, 1, new Body().bytes());
    assertThatThrownBy(() -> reader.read(ByteBuffer.wrap(record)))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("a batch of pages before the layout was agreed");
  }

  @Test
  void aPoolThatIsExhaustedOrClosedIsAFaultOfThisSide() {
    byte[] record = Streams.sealed(RecordType.PAGES.code(), 0, 1, new Body().bytes());
    WireRecord.Pages one = Streams.batch(pool, new Random(1), 0, Streams.zero(1));
    WireRecord.Pages two = Streams.batch(pool, new Random(1), 0, Streams.zero(1));
    internal(Streams.readerAfterHello(pool), record, "all 2 slabs for received batches are in use");
    one.batch().release();
    two.batch().release();

    SlabPool closed = new SlabPool(1, Streams.GEOMETRY);
    WireReader reader = Streams.readerAfterHello(closed);
    closed.close();
    internal(reader, record, "the slab pool is closed");
  }

  @Test
  void aPoolThatIsClosedInTheMiddleOfABatchIsAFaultOfThisSide() {
    byte[] record = Streams.sealed(RecordType.PAGES.code(), 0, 1, new Body().bytes());
    SlabPool closed = new SlabPool(1, Streams.GEOMETRY);
    WireReader reader = Streams.readerAfterHello(closed);
    assertThat(reader.read(ByteBuffer.wrap(record, 0, 100))).isNull();
    closed.close();
    byte[] rest = Arrays.copyOfRange(record, 100, record.length);
    internal(reader, rest, "the reader failed at byte ");
    assertThat(closed.outstanding()).isZero();
  }

  private static void internal(WireReader reader, byte[] bytes, String message) {
    Throwable error = catchThrowable(() -> reader.read(ByteBuffer.wrap(bytes)));
    assertThat(error).isInstanceOf(MigrationException.class).hasMessageContaining(message);
    assertThat(((MigrationException) error).kind()).isEqualTo(Kind.INTERNAL);
  }

  @Test
  void aReaderThatFailedOrWasClosedIsOfNoMoreUse() {
    WireReader failed = new WireReader();
    assertThatThrownBy(() -> failed.read(ByteBuffer.wrap(new byte[1])))
        .isInstanceOf(MigrationException.class);
    assertThatThrownBy(() -> failed.read(ByteBuffer.allocate(0)))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(failed::end).isInstanceOf(IllegalStateException.class);

    byte[] record = Streams.sealed(RecordType.PAGES.code(), 0, 1, new Body().bytes());
    WireReader closed = Streams.readerAfterHello(pool);
    assertThat(closed.read(ByteBuffer.wrap(record, 0, record.length - 1))).isNull();
    assertThat(pool.outstanding()).isEqualTo(1);
    closed.close();
    closed.close();
    assertThat(pool.outstanding()).isZero();
    assertThatThrownBy(() -> closed.read(ByteBuffer.wrap(record)))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void pagesCannotBeExpectedTwice() {
    WireReader reader = Streams.readerAfterHello(pool);
    assertThatThrownBy(() -> reader.expectPages(Streams.LAYOUT, pool))
        .isInstanceOf(IllegalStateException.class);
  }
}
