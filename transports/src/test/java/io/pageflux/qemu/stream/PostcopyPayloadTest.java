package io.pageflux.qemu.stream;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.qemu.stream.PostcopyPayload.Advice;
import io.pageflux.qemu.stream.PostcopyPayload.Discard;
import io.pageflux.qemu.stream.PostcopyPayload.Range;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

/** What post-copy's commands carry. */
class PostcopyPayloadTest {

  private static String hex(ByteBuffer bytes) {
    byte[] copy = new byte[bytes.remaining()];
    bytes.get(copy);
    return HexFormat.of().formatHex(copy);
  }

  @Test
  void payloadsAreWrittenAsQemuHasThemAndReadAgain() {
    Advice advice = new Advice(0x201000, 4096);
    assertThat(hex(advice.payload())).isEqualTo("00000000002010000000000000001000");
    assertThat(Advice.of(advice.payload())).isEqualTo(advice);
    Discard discard = new Discard("ram", List.of(new Range(0, 0x1000), new Range(0x5000, 0x2000)));
    assertThat(hex(discard.payload()))
        .isEqualTo(
            "000372616d00"
                + "00000000000000000000000000001000"
                + "00000000000050000000000000002000");
    assertThat(Discard.of(discard.payload())).isEqualTo(discard);
    assertThat(hex(PostcopyPayload.packaged(0xfffffffeL))).isEqualTo("fffffffe");
    assertThat(PostcopyPayload.packagedBytes(PostcopyPayload.packaged(0xfffffffeL)))
        .isEqualTo(0xfffffffeL);
    assertThat(hex(PostcopyPayload.receivedBitmap("bios"))).isEqualTo("0462696f73");
    assertThat(PostcopyPayload.receivedBitmapBlock(PostcopyPayload.receivedBitmap("bios")))
        .isEqualTo("bios");
  }

  private static void assertCutsAreRefused(ByteBuffer payload, Consumer<ByteBuffer> reader) {
    for (int end = 0; end < payload.limit(); end++) {
      ByteBuffer cut = payload.duplicate().limit(end);
      assertThatThrownBy(() -> reader.accept(cut))
          .as("%d of %d bytes", end, payload.limit())
          .isInstanceOf(MigrationException.class);
    }
  }

  @Test
  void aPayloadCutAnywhereIsRefused() {
    assertCutsAreRefused(new Advice(4096, 4096).payload(), Advice::of);
    assertCutsAreRefused(new Discard("ram", List.of(new Range(0, 1))).payload(), Discard::of);
    assertCutsAreRefused(PostcopyPayload.packaged(1), PostcopyPayload::packagedBytes);
    assertCutsAreRefused(
        PostcopyPayload.receivedBitmap("ram"), PostcopyPayload::receivedBitmapBlock);
  }

  @Test
  void nonsenseIsRefused() {
    for (ByteBuffer advice :
        List.of(new Advice(0, 4096).payload(), new Advice(4096, 5000).payload())) {
      assertThatThrownBy(() -> Advice.of(advice)).isInstanceOf(MigrationException.class);
    }
    for (String discard :
        List.of(
            "010372616d0000000000000000000000000000001000",
            "000372616d0100000000000000000000000000001000",
            "0003ffffff0000000000000000000000000000001000",
            "000000")) {
      ByteBuffer bytes = ByteBuffer.wrap(HexFormat.of().parseHex(discard));
      assertThatThrownBy(() -> Discard.of(bytes)).isInstanceOf(MigrationException.class);
    }
    assertThatThrownBy(
            () -> PostcopyPayload.receivedBitmapBlock(ByteBuffer.wrap(new byte[] {1, 'a', 'b'})))
        .isInstanceOf(MigrationException.class);
    assertThatThrownBy(() -> PostcopyPayload.packaged(1L << 32))
        .isInstanceOf(IllegalArgumentException.class);
  }
}
