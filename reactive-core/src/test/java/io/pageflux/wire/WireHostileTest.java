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

  @ParameterizedTest
  @CsvSource({
    "1, 4294967295", "2, 1097741", "3, 1", "4, 15", "4, 17", "5, 35", "5, 4277", "5, 4294967295",
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
    refusesRecord("the number of RAM blocks is 4097, but at most 4096", 2, 0, with(one, 2, 16));
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
}
