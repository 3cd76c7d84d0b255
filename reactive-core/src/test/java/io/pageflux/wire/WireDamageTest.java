package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Whatever happens to a stream on its way, the reader says so, and gives back its slab. */
class WireDamageTest {

  private final SlabPool pool = new SlabPool(2, Streams.GEOMETRY);

  @AfterEach
  void noSlabIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  @Test
  void everyFlippedBitIsFound() {
    Streams.Builder stream = Streams.everything(pool, new Random(1));
    // And one that is skipped: its checksums count no less.
    byte[] bytes =
        Streams.concat(
            stream.bytes(), Streams.sealed(250, 1, stream.ends.size(), new byte[] {1, 2, 3}));
    for (int bit = 0; bit < 8 * bytes.length; bit++) {
      byte[] damaged = bytes.clone();
      damaged[bit / 8] ^= (byte) (1 << bit % 8);
      List<Object> seen = new ArrayList<>();
      Throwable error =
          catchThrowable(
              () -> Streams.read(new WireReader(), pool, ByteBuffer.wrap(damaged), seen));
      assertThat(error).as("bit %d", bit).isInstanceOf(MigrationException.class);
      Kind kind = ((MigrationException) error).kind();
      assertThat(kind)
          .as("bit %d", bit)
          .isEqualTo(bit / 8 < WireFormat.PREAMBLE_BYTES ? Kind.PROTOCOL : Kind.INTEGRITY);
      assertThat(error).hasMessageContaining(" of the stream");
      assertThat(stream.expected.subList(0, seen.size())).as("bit %d", bit).isEqualTo(seen);
      assertThat(pool.outstanding()).as("bit %d", bit).isZero();
    }
  }

  @Test
  void everyTruncationIsFound() {
    Streams.Builder stream = Streams.everything(pool, new Random(2));
    byte[] bytes = stream.bytes();
    for (int length = 0; length < bytes.length; length++) {
      WireReader reader = new WireReader();
      List<Object> seen = new ArrayList<>();
      ByteBuffer part = ByteBuffer.wrap(Streams.prefix(bytes, length));
      Streams.read(reader, pool, part, seen);
      int whole = 0;
      while (stream.ends.get(whole) <= length) {
        whole++;
      }
      assertThat(seen).as("%d bytes", length).isEqualTo(stream.expected.subList(0, whole));
      Throwable error = catchThrowable(reader::end);
      if (stream.ends.contains(length)) {
        assertThat(error).as("%d bytes", length).isNull();
      } else {
        assertThat(error)
            .as("%d bytes", length)
            .isInstanceOf(MigrationException.class)
            .hasMessageContaining("the connection ended at byte " + length + ", where ")
            .hasMessageContaining("still to come");
        assertThat(((MigrationException) error).kind()).isEqualTo(Kind.TRANSPORT);
      }
      assertThat(pool.outstanding()).as("%d bytes", length).isZero();
    }
  }

  @Test
  void aFlippedBitOfTheLengthIsFoundWithoutWaitingForTheBody() {
    byte[] record = Streams.sealed(RecordType.FAILURE.code(), 0, 1, new byte[] {0, 1, 0, 0});
    record[6] ^= 0x10; // 4,096 bytes more
    ByteBuffer header = ByteBuffer.wrap(record, 0, RecordType.Sizes.HEADER);
    assertThatThrownBy(() -> Streams.readerAfterHello(pool).read(header))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("the header was damaged");
  }

  @Test
  void recordsThatAreLostRepeatedOrExchangedAreFound() {
    Streams.Builder stream = Streams.everything(pool, new Random(3));
    byte[] bytes = stream.bytes();
    int a = stream.ends.get(8);
    int b = stream.ends.get(9);
    int c = stream.ends.get(10);
    byte[] start = Streams.prefix(bytes, a);
    byte[] first = Arrays.copyOfRange(bytes, a, b);
    byte[] second = Arrays.copyOfRange(bytes, b, c);
    for (byte[] damaged :
        List.of(
            Streams.concat(start, second),
            Streams.concat(start, first, first),
            Streams.concat(start, second, first))) {
      assertThatThrownBy(() -> readAll(damaged))
          .isInstanceOf(MigrationException.class)
          .hasMessageContaining("records were lost, repeated or mixed up");
    }
  }

  @Test
  void theBodyOfAnotherRecordDoesNotFitAHeader() {
    // Both are the eleventh record, of the same type and length; only their bodies differ.
    byte[] one = Streams.sealed(RecordType.PREPARED.code(), 0, 1, new byte[8]);
    byte[] other =
        Streams.sealed(RecordType.PREPARED.code(), 0, 1, new byte[] {0, 0, 0, 0, 0, 0, 0, 1});
    System.arraycopy(other, 20, one, 20, 8);
    assertThatThrownBy(() -> Streams.readerAfterHello(pool).read(ByteBuffer.wrap(one)))
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("the body was damaged")
        .hasMessageContaining("in PREPARED record 1 from byte ");
  }

  @ParameterizedTest
  @ValueSource(longs = {11, 12, 13, 14})
  void garbageIsRefused(long seed) {
    Random random = new Random(seed);
    byte[] hello = new Streams.Builder().add(Streams.HELLO).bytes();
    for (int i = 0; i < 500; i++) {
      byte[] garbage = new byte[8 + random.nextInt(200)];
      random.nextBytes(garbage);
      assertThatThrownBy(() -> readAll(garbage)).isInstanceOf(MigrationException.class);
      byte[] later = Streams.concat(hello, garbage, new byte[20]);
      assertThatThrownBy(() -> readAll(later)).isInstanceOf(MigrationException.class);
    }
  }

  /** A peer that means harm computes its checksums. */
  @ParameterizedTest
  @ValueSource(longs = {21, 22, 23, 24})
  void changedBodiesWithRightChecksumsAreRefusedOrHarmless(long seed) {
    Random random = new Random(seed);
    Streams.Builder stream = Streams.everything(pool, random);
    byte[] bytes = stream.bytes();
    int refused = 0;
    for (int i = 0; i < 10_000; i++) {
      byte[] changed = changeOneBody(stream, bytes, random);
      try {
        readAll(changed);
      } catch (MigrationException e) {
        assertThat(e.kind()).as("seed %d, change %d", seed, i).isEqualTo(Kind.PROTOCOL);
        refused++;
      }
      assertThat(pool.outstanding()).as("seed %d, change %d", seed, i).isZero();
    }
    assertThat(refused).isBetween(2_000, 9_900);
  }

  private static byte[] changeOneBody(Streams.Builder stream, byte[] bytes, Random random) {
    // Pages are what most can go wrong with, so they are changed more often.
    int record = random.nextBoolean() ? 4 + random.nextInt(4) : random.nextInt(stream.ends.size());
    int from = record == 0 ? WireFormat.PREAMBLE_BYTES : stream.ends.get(record - 1);
    int to = stream.ends.get(record);
    byte[] body = Arrays.copyOfRange(bytes, from + RecordType.Sizes.HEADER, to);
    if (random.nextInt(4) == 0) {
      body = Arrays.copyOf(body, random.nextInt(body.length + 40));
    }
    int reach = random.nextBoolean() ? Math.min(body.length, 100) : body.length;
    for (int n = random.nextInt(4); n >= 0 && reach > 0; n--) {
      byte[] interesting = {0, 1, -1, 127, -128, (byte) random.nextInt()};
      body[random.nextInt(reach)] = interesting[random.nextInt(interesting.length)];
    }
    return Streams.concat(
        Streams.prefix(bytes, from),
        Streams.sealed(bytes[from] & 0xFF, 0, record, body),
        Arrays.copyOfRange(bytes, to, bytes.length));
  }

  private void readAll(byte[] bytes) {
    WireReader reader = new WireReader();
    ByteBuffer in = ByteBuffer.wrap(bytes);
    for (WireRecord record; (record = reader.read(in)) != null; ) {
      if (record instanceof WireRecord.Layout layout) {
        // What was agreed upon does not follow from what the peer says.
        reader.expectPages(Streams.LAYOUT, pool);
        assertThat(layout.layout().totalBytes()).isPositive();
      } else if (record instanceof WireRecord.Pages pages) {
        requireSound(pages.batch());
        pages.batch().release();
      }
    }
    reader.end();
  }

  private static void requireSound(PageBatch batch) {
    assertThat(batch.block()).isEqualTo(Streams.LAYOUT.blocks().get(batch.blockIndex()));
    int bytes = 0;
    long last = -1;
    for (int i = 0; i < batch.size(); i++) {
      assertThat(batch.page(i)).isGreaterThan(last).isLessThan(batch.block().pageCount());
      assertThat(batch.length(i)).isBetween(0, batch.pageSizeBytes());
      last = batch.page(i);
      bytes += batch.length(i);
    }
    assertThat(batch.size()).isPositive();
    assertThat(batch.payloadBytes()).isEqualTo(bytes);
    assertThat(batch.storedBytes()).isLessThanOrEqualTo(batch.payloadBytes());
    assertThat(batch.stored().byteSize()).isEqualTo(batch.storedBytes());
  }
}
