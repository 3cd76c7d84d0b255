package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A peer that computes right checksums over wrong records is refused, with the reason. */
class WireHostileTest {

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
    refuses("no page kind has the code 3", b -> b.run[0][2] = 3);
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
    refuses("cannot be DELTA in 512 bytes", b -> b.lengths[0] = 512);
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
    for (Feature missing : Feature.values()) {
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

  @ParameterizedTest
  @CsvSource({
    "1, 4294967295", "2, 68621", "3, 1", "4, 15", "4, 17", "5, 35", "5, 4277", "5, 4294967295",
    "6, 31", "9, 32769", "11, 2147483648", "12, 1", "13, 1", "14, 3", "14, 8197", "15, 1"
  })
  void absurdLengthsAreRefusedAtOnce(int type, long length) {
    ByteBuffer header = ByteBuffer.wrap(header(type, 0, length));
    WireReader reader = Streams.readerAfterHello(pool);
    assertThatThrownBy(() -> reader.read(header))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("a body of " + length + " bytes, where ");
  }

  @Test
  void lengthsOfUnknownRecordsAreBoundedToo() {
    ByteBuffer header = ByteBuffer.wrap(header(99, 1, WireLimits.MAX_CONTROL_BODY_BYTES + 1L));
    assertThatThrownBy(() -> Streams.readerAfterHello(pool).read(header))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("where 0 to 73728 may be");
  }

  /** A header alone, with a right checksum and a length of which no byte follows. */
  private static byte[] header(int type, int flags, long length) {
    byte[] record = Streams.sealed(type, flags, 1, new byte[0]);
    ByteBuffer header = ByteBuffer.wrap(record).putInt(4, (int) length);
    Checksum checksum = new Checksum();
    checksum.update(header, 0, 12);
    header.putInt(12, checksum.value());
    return record;
  }

  @Test
  void headersThatThisVersionDoesNotKnowAreRefused() {
    refusesRecord("type is not known, and it is not optional", 99, 0, new byte[0]);
    refusesRecord("type is not known, and it is not optional", 0, 0, new byte[0]);
    refusesRecord("flags 0x02 are not known", 3, 2, new byte[0]);
    refusesRecord("flags 0x81 are not known", 99, 0x81, new byte[0]);
    refusesRecord("this type of record is never optional", 3, 1, new byte[0]);
    byte[] record = header(3, 0, 0);
    ByteBuffer header = ByteBuffer.wrap(record).putShort(2, (short) 7);
    Checksum checksum = new Checksum();
    checksum.update(header, 0, 12);
    header.putInt(12, checksum.value());
    assertThatThrownBy(() -> Streams.readerAfterHello(pool).read(header))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("the reserved bytes are not zero");
  }

  @Test
  void controlRecordsThatMakeNoSenseAreRefused() {
    refusesRecord("rounds count from 1, but this one is 0", 4, 0, new byte[16]);
    refusesRecord("the round is 4294967295", 4, 0, filled(16, -1));
    refusesRecord("neither 0 nor 1", 4, 0, with(with(new byte[16], 3, 1), 4, 2));
    refusesRecord("a reserved byte is not zero", 4, 0, with(with(new byte[16], 3, 1), 7, 2));
    refusesRecord("the number of dirty pages", 4, 0, with(with(new byte[16], 3, 1), 8, -1));
    refusesRecord("a reserved byte is not zero", 6, 0, with(with(new byte[32], 3, 1), 4, 1));
    byte[] sum = with(with(new byte[32], 3, 1), 8, 0x7F);
    refusesRecord("the number of zero and raw pages", 6, 0, with(sum, 16, 0x7F));
    refusesRecord("the number of applied pages", 7, 0, with(with(new byte[16], 3, 1), 8, -1));
    refusesRecord("the number of bytes", 8, 0, with(new byte[16], 0, -1));
    refusesRecord("device state", 10, 0, with(new byte[16], 8, -1));
    refusesRecord("the number of applied pages", 11, 0, with(new byte[8], 0, -1));
    refusesRecord("the message is not UTF-8", 14, 0, new byte[] {0, 1, 0, 1, -1});
    refusesRecord("the body ends before the message", 14, 0, new byte[] {0, 1, 0, 2, 'x'});
    refusesRecord("2 bytes too many", 14, 0, new byte[] {0, 1, 0, 0, 'x', 'y'});
    refusesRecord("may have 8192", 14, 0, with(filled(4 + 8192, 'x'), 2, 0x20));
  }

  @Test
  void hellosThatMakeNoSenseAreRefused() {
    byte[] hello = new byte[42];
    refusesRecord("these go from 0 to 0", 1, 0, hello);
    with(with(hello, 1, 2), 3, 1);
    refusesRecord("these go from 2 to 1", 1, 0, hello);
    with(hello, 3, 2);
    refusesRecord("channel 0 of 0", 1, 0, hello);
    with(with(hello, 5, 1), 7, 1);
    refusesRecord("channel 1 of 1", 1, 0, hello);
    with(with(hello, 5, 0), 23, 2);
    refusesRecord("cannot require what it does not have: ZSTD", 1, 0, hello);
  }

  @Test
  void layoutsThatMakeNoSenseAreRefused() {
    byte[] one = layout(1, "a", 4096, 4096, 8, 4096);
    refusesRecord("the number of RAM blocks is 257, but at most 256", 2, 0, with(one, 2, 1));
    refusesRecord("a RAM layout has at least one block", 2, 0, noBlocks());
    refusesRecord("the body ends before RAM block", 2, 0, layout(2, "a", 4096, 4096, 8, 4096));
    refusesRecord("name has 1 to 255 bytes", 2, 0, layout(1, "", 4096, 4096, 8, 4096));
    refusesRecord("size 4097 is not", 2, 0, layout(1, "a", 4097, 4096, 8, 4096));
    refusesRecord("size -4096 is not", 2, 0, layout(1, "a", -4096, 4096, 8, 4096));
    refusesRecord("page size 4095 is not", 2, 0, layout(1, "a", 4095, 4095, 8, 4096));
    refusesRecord("page size is 4294967295", 2, 0, layout(1, "a", 4096, -1, 8, 4096));
    refusesRecord("1 to 4096 pages", 2, 0, layout(1, "a", 4096, 4096, 0, 4096));
    refusesRecord("at most 4096", 2, 0, layout(1, "a", 4096, 4096, 4097, 4096));
    refusesRecord("a multiple of 4096", 2, 0, layout(1, "a", 4096, 4096, 8, 4095));
    refusesRecord("at most 8388608", 2, 0, layout(1, "a", 4096, 4096, 8, 1 << 30));
    refusesRecord("does not fit a batch", 2, 0, layout(1, "a", 8192, 8192, 8, 4096));
    refusesRecord("block '\\u{1b}': size 1", 2, 0, layout(1, "\033", 1, 4096, 8, 4096));
    byte[] malformed = layout(1, "ab", 4096, 4096, 8, 4096);
    refusesRecord("RAM block 0's name is not UTF-8", 2, 0, with(malformed, 6, 0x80));
    byte[] twice =
        ByteBuffer.allocate(4 + 14 + 14 + 8)
            .put(layout(2, "a", 4096, 4096, 0, 0), 0, 18)
            .put(layout(2, "a", 4096, 4096, 8, 4096), 4, 22)
            .array();
    refusesRecord("two RAM blocks are called 'a'", 2, 0, twice);
  }

  private static byte[] noBlocks() {
    // As long as the shortest layout must be: one that has no block has bytes too many.
    return ByteBuffer.allocate(26).putInt(4, 8).putInt(8, 4096).array();
  }

  private static byte[] layout(
      int count, String name, long size, int pageSize, int maxPages, int payload) {
    byte[] utf8 = name.getBytes(StandardCharsets.UTF_8);
    int padding = name.isEmpty() ? 1 : 0; // the shortest body has a name of one byte
    ByteBuffer out = ByteBuffer.allocate(4 + 13 + utf8.length + 8 + padding);
    out.putInt(count).put((byte) utf8.length).put(utf8).putLong(size).putInt(pageSize);
    return out.putInt(maxPages).putInt(payload).array();
  }

  private static byte[] with(byte[] bytes, int index, int value) {
    bytes[index] = (byte) value;
    return bytes;
  }

  private static byte[] filled(int length, int value) {
    byte[] bytes = new byte[length];
    Arrays.fill(bytes, (byte) value);
    return bytes;
  }

  @Test
  void theFirstRecordMustBeHello() {
    ByteBuffer stream =
        ByteBuffer.wrap(
            Streams.concat(
                "PAGEFLUX".getBytes(StandardCharsets.US_ASCII),
                Streams.sealed(RecordType.READY.code(), 0, 0, new byte[0])));
    assertThatThrownBy(() -> new WireReader().read(stream))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("the first record must be HELLO");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      quoteCharacter = '"',
      value = {
        "P AGEFLUX; got P AGEFLU (at byte 1 ",
        "GET / HTTP/1.1; got GET / HT (at byte 0 ",
        "PAx; got PAx (at byte 2 ",
        "QEVM----; got QEVM----, which looks like QEMU's migration stream (at byte 0 "
      })
  void aPeerThatSpeaksSomethingElseIsFoundAtItsFirstWrongByte(String bytes, String message) {
    ByteBuffer in = ByteBuffer.wrap(bytes.getBytes(StandardCharsets.US_ASCII));
    assertThatThrownBy(() -> new WireReader().read(in))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("the peer does not speak Pageflux: expected PAGEFLUX")
        .hasMessageContaining(message);
  }

  @Test
  void aPeerThatSpeaksTlsIsRecognised() {
    ByteBuffer in = ByteBuffer.wrap(new byte[] {0x16, 3, 1, 0, 42, 1});
    assertThatThrownBy(() -> new WireReader().read(in))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("got \\x16\\x03\\x01\\x00*\\x01, which looks like TLS");
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
