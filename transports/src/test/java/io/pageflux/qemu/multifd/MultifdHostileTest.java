package io.pageflux.qemu.multifd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.github.luben.zstd.Zstd;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Random;
import java.util.function.Consumer;
import java.util.zip.Deflater;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class MultifdHostileTest {

  private static final int HEADER = 1344;

  private final SlabPool pool = new SlabPool(1, BatchGeometry.DEFAULT);

  @AfterEach
  void nothingIsLeased() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  // ---- what QEMU 7.2 does by mistake

  @Test
  void aLengthAndABlockLeftOverInAPacketWithoutPagesMeanNothing() {
    byte[] sync =
        packet(
            h -> {
              h.putInt(8, 1).putInt(16, 0).putInt(20, 99_999_999);
              h.put(64, "gone".getBytes(StandardCharsets.UTF_8)).putLong(320, -1);
            });
    Channels.Decoded decoded = decode(MultifdCompression.NONE, sync, onePage(0));
    assertThat(decoded.syncs()).containsExactly(0);
    assertThat(decoded.pages()).hasSize(1);
  }

  @Test
  void aSyncOnAPacketWithPagesHoldsAfterThem() {
    byte[] rider = onePage(1);
    byte[] duplicate = packet(h -> h.putInt(8, 0).putInt(16, 0).putInt(20, 4096));
    Channels.Decoded decoded = decode(MultifdCompression.NONE, rider, duplicate, onePage(0));
    assertThat(decoded.syncs()).containsExactly(1);
    assertThat(decoded.pages()).hasSize(2);
  }

  @Test
  void pagesThatDoNotAscendComeInSeveralBatches() {
    byte[] packet =
        packet(
            h ->
                h.putInt(16, 2)
                    .putInt(32, 2)
                    .putLong(320, 8192)
                    .putLong(328, 4096)
                    .putLong(336, 0)
                    .putLong(344, 12288),
            new byte[8192]);
    packet[HEADER + 8192 - 4096] = 1;
    ByteBuffer.wrap(packet).putInt(20, 8192);
    List<Channels.Page> pages = decode(MultifdCompression.NONE, packet).pages();
    assertThat(pages).extracting(Channels.Page::page).containsExactly(2L, 1L, 0L, 3L);
    assertThat(pages)
        .extracting(Channels.Page::kind)
        .containsExactly(PageKind.RAW, PageKind.RAW, PageKind.ZERO, PageKind.ZERO);
    assertThat(pages.get(1).contents().get(0)).isEqualTo((byte) 1);
  }

  // ---- hostile headers

  @Test
  void aChannelThatBeginsOtherwiseIsRefused() {
    byte[] main = new byte[64];
    ByteBuffer.wrap(main).putInt(0x5145564d);
    MigrationException e = refused(MultifdCompression.NONE, main);
    assertThat(e).hasMessageContaining("byte 0").hasMessageContaining("main channel");
    byte[] later = Channels.init(0);
    later[7] = 2;
    assertThat(refused(MultifdCompression.NONE, later)).hasMessageContaining("version 2");
  }

  @Test
  void hostileFieldsAreRefusedWithTheirPlace() {
    refusesField(h -> h.putInt(0, 7), 0, "begins with 0x11223344");
    refusesField(h -> h.putInt(4, 2), 4, "version 2");
    refusesField(h -> h.putInt(8, 0x80), 8, "flags 0x00000080");
    refusesField(h -> h.putInt(8, 0x40), 8, "device state");
    refusesField(h -> h.putInt(8, 4), 8, "zstd, but none");
    refusesField(h -> h.putInt(12, 129), 12, "room for 129 pages");
    refusesField(h -> h.putInt(12, -1), 12, "room for 4294967295 pages");
    refusesField(h -> h.putInt(16, 129), 16, "129 pages in a packet with room for 128");
    refusesField(h -> h.putInt(16, -1), 16, "4294967295 pages");
    refusesField(h -> h.putInt(12, 0), 16, "1 pages in a packet with room for 0");
    refusesField(h -> h.putInt(32, 128), 32, "128 zero pages beside 1");
    refusesField(h -> h.putInt(32, -1), 32, "4294967295 zero pages");
    refusesField(h -> h.putInt(20, 4095), 20, "4095 bytes for 1 pages");
    refusesField(h -> h.putInt(20, -1), 20, "4294967295 bytes for 1 pages");
    refusesField(h -> h.put(64, new byte[256]), 64, "block ''");
    refusesField(h -> h.put(64, (byte) 'q'), 64, "block 'qc.ram'");
    refusesField(h -> fill(h, 64, 256), 64, "no end");
    refusesField(h -> h.putLong(320, 4095), 320, "no multiple of 4096");
    refusesField(h -> h.putLong(320, 1024 * 4096), 320, "offset 0x400000");
    refusesField(h -> h.putLong(320, Long.MIN_VALUE), 320, "offset 0x8000000000000000");
    refusesField(h -> h.putInt(32, 1).putLong(328, -4096), 328, "offset 0xfffffffffffff000");
  }

  private static void fill(ByteBuffer h, int at, int n) {
    for (int i = 0; i < n; i++) {
      h.put(at + i, (byte) 'x');
    }
  }

  private void refusesField(Consumer<ByteBuffer> change, int at, String what) {
    byte[] packet = packet(change, new byte[4096]);
    MigrationException e = refused(MultifdCompression.NONE, Channels.init(6), packet);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageStartingWith("multifd channel 6, byte " + (64 + at) + ":");
    assertThat(e).hasMessageContaining(what);
  }

  @Test
  void aCompressedPayloadOfImpossibleLengthIsRefused() {
    for (int length : new int[] {0, (1 << 20) + 1, -1}) {
      byte[] packet = packet(h -> h.putInt(8, 4).putInt(20, length));
      assertThat(refused(MultifdCompression.ZSTD, Channels.init(0), packet))
          .hasMessageContaining("byte 84:")
          .hasMessageContaining("where 1 to 1048576 may be");
    }
  }

  // ---- hostile payloads

  @Test
  void aPayloadThatDecompressesToMoreIsRefused() {
    refusesPayload(MultifdCompression.ZSTD, Zstd.compress(new byte[4097]), "goes on after");
    refusesPayload(MultifdCompression.ZSTD, Zstd.compress(new byte[64 << 20]), "goes on after");
    refusesPayload(MultifdCompression.ZLIB, deflate(new byte[4097]), "goes on after");
    refusesPayload(MultifdCompression.ZLIB, deflate(new byte[64 << 20]), "goes on after");
  }

  @Test
  void aPayloadThatDecompressesToLessIsRefused() {
    refusesPayload(MultifdCompression.ZSTD, Zstd.compress(new byte[4095]), "0 pages and 1 bytes");
    refusesPayload(MultifdCompression.ZLIB, deflate(new byte[4095]), "0 pages and 1 bytes");
  }

  @Test
  void aPayloadThatIsNoneIsRefused() {
    byte[] noise = new byte[500];
    new Random(5).nextBytes(noise);
    refusesPayload(MultifdCompression.ZSTD, noise, "zstd refuses it");
    refusesPayload(MultifdCompression.ZLIB, noise, "zlib refuses it");
    byte[] hugeWindow = {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd, 0, (byte) (21 << 3), 1, 0, 0};
    refusesPayload(MultifdCompression.ZSTD, hugeWindow, "zstd refuses it");
  }

  @Test
  void aZlibStreamThatEndsIsRefused() {
    Deflater deflater = new Deflater();
    deflater.setInput(new byte[4096]);
    deflater.finish();
    byte[] out = new byte[200];
    int n = deflater.deflate(out);
    deflater.end();
    refusesPayload(
        MultifdCompression.ZLIB, java.util.Arrays.copyOf(out, n), "the zlib stream ends");
  }

  private void refusesPayload(MultifdCompression compression, byte[] payload, String what) {
    byte[] packet =
        packet(h -> h.putInt(8, compression.flag()).putInt(20, payload.length), payload);
    MigrationException e = refused(compression, Channels.init(0), packet);
    assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
    assertThat(e).hasMessageContaining(what).hasMessageContaining("packet 9 from byte 64");
  }

  @Test
  void framesMayBeManyAndLieAcrossPages() {
    byte[] contents = new byte[8192];
    new Random(8).nextBytes(contents);
    ByteArrayOutputStream frames = new ByteArrayOutputStream();
    for (int at = 0; at < 8192; at += 1024) {
      frames.writeBytes(Zstd.compress(java.util.Arrays.copyOfRange(contents, at, at + 1024)));
    }
    byte[] packet =
        packet(
            h -> h.putInt(8, 4).putInt(16, 2).putInt(20, frames.size()).putLong(328, 4096),
            frames.toByteArray());
    for (int piece : new int[] {1, 3000, 100_000}) {
      byte[] channel = concat(Channels.init(0), packet, packet);
      List<Channels.Page> pages =
          Channels.decode(
                  new MultifdPacketReader(MultifdCompression.ZSTD, BatchGeometry.DEFAULT),
                  pool,
                  channel,
                  piece)
              .pages();
      assertThat(pages).hasSize(4);
      assertThat(pages.get(1).contents()).isEqualTo(ByteBuffer.wrap(contents, 4096, 4096));
    }
  }

  // ---- damage anywhere

  @ParameterizedTest
  @EnumSource(MultifdCompression.class)
  void aChannelCutAtAnyByteIsNoticed(MultifdCompression compression) {
    SmallChannel small = SmallChannel.of(compression);
    for (int cut = 0; cut < small.bytes().length; cut++) {
      byte[] channel = java.util.Arrays.copyOf(small.bytes(), cut);
      if (small.ends().contains(cut)) {
        decodeAll(compression, channel);
      } else {
        MigrationException e = refused(compression, channel);
        assertThat(e.kind()).as("cut at %d", cut).isEqualTo(Kind.TRANSPORT);
        assertThat(e).hasMessageContaining("byte " + cut + ":");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MultifdCompression.class)
  void aFlippedBitAnywhereDoesNoHarm(MultifdCompression compression) {
    SmallChannel small = SmallChannel.of(compression);
    int refused = 0;
    // Headers of 1,344 bytes are mostly fill: a step that divides nothing here visits enough.
    for (int bit = 0; bit < small.bytes().length * 8; bit += 5) {
      byte[] channel = small.bytes().clone();
      channel[bit / 8] ^= (byte) (1 << bit % 8);
      try {
        decodeAll(compression, channel);
      } catch (MigrationException e) {
        assertThat(e.kind()).as("bit %d: %s", bit, e).isNotEqualTo(Kind.INTERNAL);
        assertThat(e.getMessage()).contains("multifd channel");
        refused++;
      }
      assertThat(pool.outstanding()).as("bit %d", bit).isZero();
    }
    assertThat(refused).isPositive();
  }

  // ----

  private Channels.Decoded decode(MultifdCompression compression, byte[]... packets) {
    return decodeAll(compression, concat(Channels.init(0), concat(packets)));
  }

  private Channels.Decoded decodeAll(MultifdCompression compression, byte[] channel) {
    return Channels.decode(
        new MultifdPacketReader(compression, BatchGeometry.DEFAULT), pool, channel, 1000);
  }

  private MigrationException refused(MultifdCompression compression, byte[]... packets) {
    return catchThrowableOfType(
        MigrationException.class, () -> decodeAll(compression, concat(packets)));
  }

  private static byte[] onePage(int flags) {
    return packet(h -> h.putInt(8, flags), new byte[4096]);
  }

  /** A packet with page 0 of pc.ram, unless changed. */
  static byte[] packet(Consumer<ByteBuffer> change, byte... payload) {
    ByteBuffer header = ByteBuffer.allocate(HEADER);
    header.putInt(0, 0x11223344).putInt(4, 1).putInt(12, 128).putInt(16, 1).putInt(20, 4096);
    header.putLong(24, 9).put(64, "pc.ram".getBytes(StandardCharsets.UTF_8));
    change.accept(header);
    return concat(header.array(), payload);
  }

  static byte[] concat(byte[]... pieces) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (byte[] piece : pieces) {
      out.writeBytes(piece);
    }
    return out.toByteArray();
  }

  private static byte[] deflate(byte[] contents) {
    Deflater deflater = new Deflater();
    deflater.setInput(contents);
    byte[] out = new byte[1 << 20];
    int n = deflater.deflate(out, 0, out.length, Deflater.SYNC_FLUSH);
    deflater.end();
    return java.util.Arrays.copyOf(out, n);
  }
}
