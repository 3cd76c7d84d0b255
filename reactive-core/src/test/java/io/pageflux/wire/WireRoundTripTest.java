package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class WireRoundTripTest {

  private final SlabPool pool = new SlabPool(2, Streams.GEOMETRY);

  @AfterEach
  void noSlabIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void everyRecordIsReadAsItWasWritten(long seed) {
    Random random = new Random(seed);
    Streams.Builder stream = new Streams.Builder().add(hello(random));
    stream.add(new WireRecord.Layout(Streams.LAYOUT, Streams.GEOMETRY));
    for (int i = 0; i < 500; i++) {
      stream.add(random.nextBoolean() ? Streams.randomBatch(pool, random) : control(random));
    }
    assertThat(readInChunks(stream.bytes(), random, 4096)).isEqualTo(stream.expected);
  }

  @Test
  void aStreamMayComeByteByByte() {
    Streams.Builder stream = Streams.everything(pool, new Random(1));
    assertThat(readInChunks(stream.bytes(), new Random(1), 1)).isEqualTo(stream.expected);
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
  void aStreamMayComeInPiecesOfAnySize(long seed) {
    Random random = new Random(seed);
    Streams.Builder stream = Streams.everything(pool, random);
    assertThat(readInChunks(stream.bytes(), random, 1 + random.nextInt(300)))
        .isEqualTo(stream.expected);
  }

  private List<Object> readInChunks(byte[] bytes, Random random, int most) {
    WireReader reader = new WireReader();
    List<Object> seen = new ArrayList<>();
    for (int at = 0; at < bytes.length; ) {
      int n = Math.min(bytes.length - at, 1 + random.nextInt(most));
      ByteBuffer chunk =
          switch (random.nextInt(3)) {
            case 0 -> ByteBuffer.wrap(bytes, at, n);
            case 1 -> ByteBuffer.wrap(bytes, at, n).asReadOnlyBuffer();
            default -> ByteBuffer.allocateDirect(n).put(bytes, at, n).flip();
          };
      chunk.order(random.nextBoolean() ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
      Streams.read(reader, pool, chunk, seen);
      at += n;
      assertThat(chunk.hasRemaining()).isFalse();
      assertThat(reader.bytesRead()).isEqualTo(at);
    }
    reader.end();
    return seen;
  }

  @Test
  void theLargestBatchThatASlabHoldsIsReadAsItWasWritten() {
    BatchGeometry geometry = new BatchGeometry(BatchGeometry.MAX_PAGES, 2 << 20);
    RamLayout layout = new RamLayout(List.of(new RamBlockLayout("ram", 1L << 30, 512)));
    try (SlabPool large = new SlabPool(1, geometry)) {
      PageBatch batch =
          new PageBatch(
              0,
              layout.blocks().get(0),
              Objects.requireNonNull(large.tryAcquire()),
              geometry.headroomBytes(),
              geometry);
      // No two of them make a run, and each has a length: the longest description there can be.
      for (int i = 0; i < BatchGeometry.MAX_PAGES; i++) {
        batch.append(3L * i, PageKind.DELTA, 511);
      }
      batch.stored().fill((byte) 42);
      Streams.Seen expected = Streams.Seen.of(batch);
      Streams.Builder stream = new Streams.Builder().add(Streams.HELLO);
      stream.add(new WireRecord.Layout(layout, geometry)).add(new WireRecord.Pages(batch));

      List<Object> seen = new ArrayList<>();
      Streams.read(new WireReader(), large, ByteBuffer.wrap(stream.bytes()), seen);
      assertThat(seen.getLast()).isEqualTo(expected);
      assertThat(large.outstanding()).isZero();
    }
  }

  @Test
  void theLargestLayoutIsReadAsItWasWritten() {
    List<RamBlockLayout> blocks = new ArrayList<>();
    for (int i = 0; i < WireLimits.MAX_BLOCKS; i++) {
      blocks.add(new RamBlockLayout("%0255d".formatted(i), 4096, 4096));
    }
    Streams.Builder stream = new Streams.Builder().add(Streams.HELLO);
    stream.add(new WireRecord.Layout(new RamLayout(blocks), Streams.GEOMETRY));
    assertThat(readInChunks(stream.bytes(), new Random(1), 1 << 20)).isEqualTo(stream.expected);
  }

  @Test
  void aBatchThatWasReadCanBeSentOnAsItIs() {
    Streams.Builder stream = new Streams.Builder().add(Streams.HELLO);
    stream.add(Streams.batch(pool, new Random(7), 0, Streams.raw(3), Streams.delta(5, 9)));
    ByteBuffer in = ByteBuffer.wrap(stream.bytes());
    WireReader reader = new WireReader();
    reader.expectPages(Streams.LAYOUT, pool);
    WireWriter writer = new WireWriter();
    ByteBuffer copy = ByteBuffer.allocate(in.remaining());
    for (WireRecord record; (record = reader.read(in)) != null; ) {
      if (record instanceof WireRecord.Pages pages) {
        assertThat(pages.batch().payloadOffset()).isEqualTo(Streams.GEOMETRY.headroomBytes());
      }
      TransportBuffer buffer = writer.write(record);
      copy.put(buffer.bytes());
      buffer.release();
    }
    assertThat(copy.array()).isEqualTo(stream.bytes());
  }

  @Test
  void recordsThatAreNotKnownAndOptionalAreSkipped() {
    byte[] hello = new Streams.Builder().add(Streams.HELLO).bytes();
    byte[] stream =
        Streams.concat(
            hello,
            Streams.sealed(200, 1, 1, new byte[5000]),
            Streams.sealed(201, 1, 2, new byte[0]),
            Streams.sealed(RecordType.READY.code(), 0, 3, new byte[0]));
    assertThat(readInChunks(stream, new Random(1), 700))
        .containsExactly(Streams.HELLO, new WireRecord.Ready());
  }

  @Test
  void aFailureOfAKindThatIsNotKnownIsAnInternalOne() {
    byte[] hello = new Streams.Builder().add(Streams.HELLO).bytes();
    byte[] failure = Streams.sealed(14, 0, 1, new byte[] {3, (byte) 231, 0, 1, 'x'});
    assertThat(readInChunks(Streams.concat(hello, failure), new Random(1), 700))
        .endsWith(new WireRecord.Failure(MigrationException.Kind.INTERNAL, "x"));
  }

  private static WireRecord.Hello hello(Random random) {
    long features = random.nextLong();
    int version = 1 + random.nextInt(0xFFFF);
    int channels = 1 + random.nextInt(0xFFFF);
    return new WireRecord.Hello(
        1 + random.nextInt(version),
        version,
        features,
        features & random.nextLong(),
        new UUID(random.nextLong(), random.nextLong()),
        random.nextInt(channels),
        channels,
        text(random, 60));
  }

  private static String text(Random random, int most) {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(most); i > 0; i--) {
      text.appendCodePoint("aä€\n\0😀".codePointAt(random.nextInt(6)));
    }
    return text.toString().replaceAll("[\\uD800-\\uDFFF](?![\\uDC00-\\uDFFF])", "");
  }

  private static WireRecord control(Random random) {
    long a = random.nextLong() >>> random.nextInt(1, 64);
    long b = random.nextLong() >>> random.nextInt(1, 64);
    int round = 1 + random.nextInt(Integer.MAX_VALUE);
    return switch (random.nextInt(15)) {
      case 0 -> new WireRecord.Ready();
      case 1 -> new WireRecord.RoundBegin(round, random.nextBoolean(), a);
      case 2 -> new WireRecord.RoundEnd(round, a >>> 2, b >>> 2, (a ^ b) >>> 2);
      case 3 -> new WireRecord.RoundAck(round, a);
      case 4 -> new WireRecord.Progress(a, b);
      case 5 -> {
        byte[] state = new byte[random.nextInt(WireLimits.MAX_DEVICE_STATE_PIECE_BYTES + 1)];
        random.nextBytes(state);
        yield new WireRecord.DeviceState(state);
      }
      case 6 -> new WireRecord.End(a, b);
      case 7 -> new WireRecord.Prepared(a);
      case 8 -> new WireRecord.Commit();
      case 9 -> new WireRecord.Running();
      case 10 -> new WireRecord.KeepAlive();
      case 11 -> hello(random);
      case 12 -> new WireRecord.StreamEnd();
      case 13 -> {
        byte[] piece = new byte[1 + random.nextInt(WireLimits.MAX_STREAM_PIECE_BYTES)];
        random.nextBytes(piece);
        yield new WireRecord.Stream(piece);
      }
      default -> {
        MigrationException.Kind[] kinds = MigrationException.Kind.values();
        yield new WireRecord.Failure(kinds[random.nextInt(kinds.length)], text(random, 900));
      }
    };
  }
}
