package io.pageflux.qemu.multifd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class MultifdRoundTripTest {

  private final SlabPool source = new SlabPool(2, new BatchGeometry(300, 300 * Channels.PAGE));
  private final SlabPool destination = new SlabPool(1, BatchGeometry.DEFAULT);
  private final AtomicLong numbers = new AtomicLong();

  @AfterEach
  void nothingIsLeased() {
    assertThat(source.outstanding()).isZero();
    assertThat(destination.outstanding()).isZero();
    source.close();
    destination.close();
  }

  @ParameterizedTest
  @CsvSource({
    "NONE,7", "NONE,5000", "NONE,9999999",
    "ZLIB,1", "ZLIB,4999", "ZLIB,9999999",
    "ZSTD,1", "ZSTD,4999", "ZSTD,9999999"
  })
  void whatIsWrittenIsRead(MultifdCompression compression, int pieceBytes) {
    long seed = new Random().nextLong();
    Random random = new Random(seed);
    List<ByteBuffer> sent = new ArrayList<>();
    List<Channels.Page> expected = new ArrayList<>();
    List<Integer> syncs = new ArrayList<>();
    byte[] channel;
    try (MultifdPacketWriter writer =
        new MultifdPacketWriter(compression, 1, true, numbers::getAndIncrement)) {
      sent.add(new MultifdInit(MultifdInit.NO_UUID, 3).encode());
      for (int i = 0; i < 6; i++) {
        PageKind[] kinds = new PageKind[1 + random.nextInt(i == 0 ? 3 : 300)];
        for (int k = 0; k < kinds.length; k++) {
          kinds[k] = random.nextInt(4) > 0 ? PageKind.RAW : PageKind.ZERO;
        }
        PageBatch batch = Channels.batch(source, 0, random.nextInt(700), random, kinds);
        expected.addAll(Channels.pages(batch));
        sent.add(ByteBuffer.wrap(Channels.bytes(writer.write(batch))));
        batch.release();
        if (i % 2 == 1) {
          sent.add(writer.sync());
          syncs.add(expected.size());
        }
      }
      channel = Channels.bytes(sent);
    }

    Channels.Decoded decoded =
        Channels.decode(
            new MultifdPacketReader(compression, BatchGeometry.DEFAULT),
            destination,
            channel,
            pieceBytes);

    assertThat(decoded.syncs()).as("seed %d", seed).isEqualTo(syncs);
    assertThat(decoded.pages()).as("seed %d", seed).containsExactlyInAnyOrderElementsOf(expected);
  }

  @ParameterizedTest
  @EnumSource(MultifdCompression.class)
  void zeroPagesAreLeftToTheMainChannelOfOldVersions(MultifdCompression compression) {
    try (MultifdPacketWriter writer = new MultifdPacketWriter(compression, 1, false, () -> 5)) {
      PageBatch zeros =
          Channels.batch(source, 1, 0, new Random(1), Channels.kinds(9, PageKind.ZERO));
      assertThat(writer.write(zeros)).isEmpty();
      zeros.release();
      PageBatch mixed =
          Channels.batch(source, 1, 4, new Random(1), PageKind.ZERO, PageKind.RAW, PageKind.ZERO);
      List<ByteBuffer> packet = writer.write(mixed);
      assertThat(packet).hasSize(2);
      assertThat(packet.get(0).getInt(MultifdFormat.NORMAL_AT)).isEqualTo(1);
      assertThat(packet.get(0).getInt(MultifdFormat.ZERO_AT)).isZero();
      assertThat(packet.get(0).getLong(MultifdFormat.OFFSETS_AT)).isEqualTo(5 * Channels.PAGE);
      mixed.release();
    }
  }

  @Test
  void contentsThatDoNotCompressNeedNoHeadroomEither() {
    PageBatch batch =
        new PageBatch(
            0,
            Channels.LAYOUT.blocks().get(0),
            java.util.Objects.requireNonNull(source.tryAcquire()),
            0,
            source.geometry());
    byte[] noise = new byte[300 * Channels.PAGE];
    new Random(3).nextBytes(noise);
    batch.lease().buffer().put(0, noise);
    for (int i = 0; i < 300; i++) {
      batch.append(i, PageKind.RAW, Channels.PAGE);
    }
    List<Channels.Page> expected = Channels.pages(batch);
    byte[] packets;
    try (MultifdPacketWriter writer =
        new MultifdPacketWriter(MultifdCompression.ZSTD, 1, false, () -> 0)) {
      packets = Channels.bytes(writer.write(batch));
    }
    batch.release();
    byte[] channel =
        Channels.bytes(List.of(ByteBuffer.wrap(Channels.init(0)), ByteBuffer.wrap(packets)));
    assertThat(
            Channels.decode(
                    new MultifdPacketReader(MultifdCompression.ZSTD, BatchGeometry.DEFAULT),
                    destination,
                    channel,
                    65536)
                .pages())
        .isEqualTo(expected);
  }

  @Test
  void theFirstPacketNamesMachineAndChannel() {
    MultifdInit init = new MultifdInit(UUID.fromString("01234567-89ab-cdef-0123-456789abcdef"), 7);
    ByteBuffer encoded = init.encode();
    assertThat(encoded.remaining()).isEqualTo(64);
    assertThat(encoded.getInt(0)).isEqualTo(0x11223344);
    assertThat(encoded.getInt(4)).isEqualTo(1);
    assertThat(encoded.getLong(8)).isEqualTo(0x0123456789abcdefL);
    assertThat(encoded.get(24)).isEqualTo((byte) 7);
    assertThat(MultifdInit.decode(encoded)).isEqualTo(init);
  }

  @Test
  void aBatchThatIsNoneOfMultifdsIsRefused() {
    try (MultifdPacketWriter writer =
        new MultifdPacketWriter(MultifdCompression.NONE, 0, false, () -> 0)) {
      PageBatch batch = Channels.batch(source, 0, 0, new Random(1), PageKind.RAW);
      batch.replace(0, PageKind.DELTA, 5);
      assertThatThrownBy(() -> writer.write(batch))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("no deltas");
      batch.release();
    }
    assertThatThrownBy(() -> new MultifdPacketWriter(MultifdCompression.ZLIB, 10, false, () -> 0))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("levels 0 to 9, but not 10");
  }
}
