package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class WireWriterTest {

  private final SlabPool pool = new SlabPool(2, Streams.GEOMETRY);

  @AfterEach
  void noSlabIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  private static WireWriter afterHello() {
    WireWriter writer = new WireWriter();
    writer.write(Streams.HELLO).release();
    return writer;
  }

  @Test
  void aBatchIsSentFromWhereItLies() {
    WireWriter writer = afterHello();
    long before = writer.bytesWritten();
    WireRecord.Pages pages =
        Streams.batch(pool, new Random(1), 0, Streams.raw(1), Streams.delta(2, 10));
    MemorySegment slab = pages.batch().slab();
    TransportBuffer buffer = writer.write(pages);
    int description = 20 + 2 * 16 + 4;
    assertThat(buffer.bytes().isDirect()).isTrue();
    assertThat(buffer.bytes().remaining()).isEqualTo(20 + description + 522);
    assertThat(MemorySegment.ofBuffer(buffer.bytes()).address())
        .isEqualTo(slab.address() + pages.batch().payloadOffset() - description - 20);
    assertThat(writer.bytesWritten() - before).isEqualTo(buffer.bytes().remaining());

    assertThat(pool.outstanding()).isEqualTo(1);
    buffer.release();
    assertThat(pool.outstanding()).isZero();
    buffer.release();
    pages.batch().release();
    assertThat(pool.outstanding()).isZero();
  }

  @Test
  void theFirstBufferBeginsWithThePreamble() {
    WireWriter writer = new WireWriter();
    ByteBuffer first = writer.write(Streams.HELLO).bytes();
    assertThat(first.remaining())
        .isEqualTo(8 + 20 + 42 + 12)
        .isEqualTo((int) writer.bytesWritten());
    assertThat(first.getLong(0)).isEqualTo(0x5041474546_4C5558L);
    assertThat(writer.write(new WireRecord.Ready()).bytes().remaining()).isEqualTo(20);
    assertThat(writer.bytesWritten()).isEqualTo(82 + 20);
  }

  @Test
  void theFirstRecordMustBeHello() {
    assertThatThrownBy(() -> new WireWriter().write(new WireRecord.Ready()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("the first record of a stream is HELLO, not READY");
    WireRecord.Pages pages = Streams.batch(pool, new Random(1), 0, Streams.zero(1));
    assertThatThrownBy(() -> new WireWriter().write(pages))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aBatchWithoutRoomForItsDescriptionIsRefusedAndReleased() {
    PageBatch batch =
        new PageBatch(
            0,
            Streams.LAYOUT.blocks().get(0),
            Objects.requireNonNull(pool.tryAcquire()),
            20 + 20 + 16 - 1,
            Streams.GEOMETRY);
    batch.append(1, PageKind.ZERO, 0);
    assertThatThrownBy(() -> afterHello().write(new WireRecord.Pages(batch)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("do not fit the 55 bytes before");
    assertThat(batch.isReleased()).isTrue();
  }

  @Test
  void batchesThatTheReaderWouldRefuseAreRefused() {
    WireRecord.Pages empty = Streams.batch(pool, new Random(1), 0);
    assertThatThrownBy(() -> afterHello().write(empty))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("drop it");
    assertThat(empty.batch().isReleased()).isTrue();

    WireRecord.Pages released = Streams.batch(pool, new Random(1), 0, Streams.raw(1));
    released.batch().release();
    assertThatThrownBy(() -> afterHello().write(released))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("was released before it was written");

    WireRecord.Pages grown = Streams.batch(pool, new Random(1), 513, Streams.raw(1));
    assertThatThrownBy(() -> afterHello().write(grown))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("compression has made a batch larger");
  }

  @Test
  void aTextThatIsTooLongIsCutBetweenCharacters() {
    String tooLong = "x" + "ä".repeat(WireLimits.MAX_TEXT_BYTES);
    Streams.Builder stream = new Streams.Builder().add(Streams.HELLO);
    stream.add(new WireRecord.Failure(MigrationException.Kind.INTERNAL, tooLong));
    WireReader reader = new WireReader();
    ByteBuffer in = ByteBuffer.wrap(stream.bytes());
    reader.read(in);
    assertThat(reader.read(in))
        .isEqualTo(
            new WireRecord.Failure(
                MigrationException.Kind.INTERNAL,
                "x" + "ä".repeat((WireLimits.MAX_TEXT_BYTES - 1) / 2)));
    assertThat(new String(Texts.utf8("a😀b", 4), StandardCharsets.UTF_8)).isEqualTo("a");
    assertThat(Texts.utf8("a\ud83d", 9)).containsExactly('a', '?');
  }

  /** As the standard check value of CRC-32C says. */
  @Test
  void theChecksumIsCrc32c() {
    ByteBuffer digits = ByteBuffer.wrap("123456789".getBytes(StandardCharsets.US_ASCII));
    Checksum checksum = new Checksum();
    checksum.update(digits, 0, 4);
    checksum.update(digits, 4, 5);
    assertThat(checksum.value()).isEqualTo(0xE3069283);
  }
}
