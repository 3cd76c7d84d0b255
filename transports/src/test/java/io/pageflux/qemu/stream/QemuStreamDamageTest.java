package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static io.pageflux.qemu.stream.StreamBytes.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** No damage makes the reader hang, lose a slab, or fail in another way than it should. */
class QemuStreamDamageTest {

  private static final StreamBytes UP_TO_TAIL =
      new StreamBytes()
          .header()
          .configuration("pc-i440fx-7.2")
          .u8(5)
          .name("configuration/capabilities")
          .be32(1)
          .be32(1)
          .name("x-ignore-shared")
          .u8(5)
          .name("configuration/uuid")
          .be32(1)
          .be64(1)
          .be64(2)
          .command(1)
          .command(2, 0, 0, 0, 1)
          .start()
          .be64(18L * PAGE | 4)
          .name("pc.ram")
          .be64(16L * PAGE)
          .be64(0)
          .name("pc.bios")
          .be64(2L * PAGE)
          .be64(0xfffc0000L)
          .eos()
          .footer()
          .part()
          .zero("pc.ram", 0)
          .rawContinued(1, page(1))
          .deltaContinued(2, new byte[] {3, 1, 9})
          .compressedContinued(4, page(4))
          .raw("pc.bios", 0, page(5))
          .eos()
          .footer()
          .end()
          .eos()
          .footer();

  private static final byte[] STREAM = UP_TO_TAIL.toBytes();

  @Test
  void aStreamThatIsCutShortIsAnError() {
    for (int length = 0; length <= STREAM.length; length++) {
      MigrationException e = ReaderRun.of(Arrays.copyOf(STREAM, length)).failure();
      assertThat(e.kind()).as("%d bytes: %s", length, e).isEqualTo(Kind.TRANSPORT);
      assertThat(e).hasMessageContaining("byte " + length + " of the QEMU stream");
    }
    byte[] whole = Arrays.copyOf(STREAM, STREAM.length + 1);
    assertThat(ReaderRun.of(whole).error()).isNull();
  }

  @Test
  void aFlippedBitIsAnErrorOrChangesWhatItStandsFor() {
    byte[] whole = Arrays.copyOf(STREAM, STREAM.length + 1);
    int errors = 0;
    for (int at = 0; at < STREAM.length; at++) {
      // In page contents, one bit of a byte is as good as another.
      for (int bit = 0; bit < 8; bit += isContents(at) ? 8 : 1) {
        whole[at] ^= (byte) (1 << bit);
        ReaderRun run = ReaderRun.of(whole, 700, false);
        if (run.error() != null) {
          errors++;
          assertThat(run.failure().kind())
              .as("byte %d bit %d: %s", at, bit, run.error())
              .isIn(Kind.PROTOCOL, Kind.TRANSPORT, Kind.INTEGRITY);
        } else {
          // A section that becomes the end marker ends the RAM, for all that anybody can tell.
          assertThat(run.pages()).as("byte %d bit %d", at, bit).hasSizeLessThanOrEqualTo(5);
        }
        whole[at] ^= (byte) (1 << bit);
      }
    }
    assertThat(errors).isGreaterThan(1000);
  }

  private static boolean isContents(int at) {
    return at > 400 && at < 400 + PAGE - 200;
  }
}
