package io.pageflux.qemu.stream;

import static io.pageflux.qemu.stream.StreamBytes.PAGE;
import static io.pageflux.qemu.stream.StreamBytes.page;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

class QemuStreamRefusalsTest {

  private static StreamBytes begun() {
    return new StreamBytes().header();
  }

  private static StreamBytes configured() {
    return begun().configuration("pc");
  }

  private static StreamBytes started() {
    return configured().start();
  }

  private static StreamBytes part() {
    return StreamBytes.upToPart();
  }

  private static Arguments bad(StreamBytes stream, int back, String says) {
    return Arguments.of(stream, back, says);
  }

  /** Streams that end with a fault, how far before the end it is, and what is said. */
  static Stream<Arguments> faults() {
    return Stream.of(
        bad(new StreamBytes().hex("50414745"), 4, "no QEMU migration stream"),
        bad(new StreamBytes().hex("5145564d 00000002"), 4, "version 2 of the stream"),
        bad(begun().u8(0x55), 1, "no such section"),
        bad(begun().u8(0), 1, "the source gave the migration up"),
        bad(begun().u8(6), 1, "the description of the devices"),
        bad(begun().u8(4), 1, "FULL"),
        bad(begun().part(), 5, "START section has to come first"),
        bad(begun().footer(), 5, "no section is open"),
        bad(configured().u8(7), 1, "directly after the header"),
        bad(begun().u8(7).be32(1025), 4, "a machine type of 1025 bytes"),
        bad(begun().u8(7).be32(-1), 4, "4294967295 bytes"),
        bad(begun().u8(7).be32(1).u8(0xff), 1, "not UTF-8"),
        bad(configured().u8(5).name("configuration/new").be32(1), 21, "'configuration/new'"),
        bad(configured().u8(5).name("configuration/uuid").be32(2), 4, "has version 2"),
        bad(
            configured().u8(5).name("configuration/capabilities").be32(1).be32(65),
            4,
            "65 capabilities"),
        bad(
            configured()
                .u8(5)
                .name("configuration/capabilities")
                .be32(1)
                .be32(1)
                .name("mapped-ram"),
            10,
            "fixed places of a file"),
        bad(
            configured().u8(5).name("configuration/capabilities").be32(1).be32(1).name("x-new"),
            5,
            "capability 'x-new' is not known"),
        bad(
            configured().u8(5).name("configuration/target-page-bits").be32(1).be32(9),
            4,
            "2^9 bytes"),
        bad(configured().command(12), 4, "command 12 is not known"),
        bad(configured().command(3), 4, "POSTCOPY_ADVISE: only pre-copy"),
        bad(configured().command(7, 0, 0, 0, 9), 8, "PACKAGED: only pre-copy"),
        bad(configured().command(2), 2, "PING with 0 bytes"),
        bad(configured().command(11, 1), 3, "SWITCHOVER_START with 1 bytes"),
        bad(
            configured().u8(1).be32(0).name("dirty-bitmap").be32(0).be32(1),
            20,
            "section 'dirty-bitmap'"),
        bad(configured().u8(1).be32(0).name("ram").be32(0).be32(5), 8, "version 5"),
        bad(configured().u8(1).be32(0).name("ram").be32(1).be32(4), 8, "instance 1"),
        bad(started().eos(), 8, "the list of RAM blocks has to come first"),
        bad(started().record(0, 0x22), 8, "the list of RAM blocks has to come first"),
        bad(started().be64(4), 8, "a total RAM size of 0"),
        bad(started().be64(0x8000_0000_0000_0004L), 8, "a total RAM size of 9223372036854775808"),
        bad(started().be64(PAGE | 4).u8(0), 1, "without a name"),
        bad(started().be64(PAGE | 4).name("a").be64(2 * PAGE), 8, "'a' has 8192 bytes, but only"),
        bad(started().be64(PAGE | 4).name("a").be64(-PAGE), 8, "18446744073709547520 bytes"),
        bad(started().be64(PAGE | 4).name("a").be64(100), 8, "not a multiple of the page size"),
        bad(
            started().be64(2 * PAGE | 4).name("a").be64(PAGE).name("a"),
            1,
            "RAM block 'a' is listed twice"),
        bad(part().blocks(), 39, "a second list"),
        bad(part().u8(0).be32(0).be16(0).u8(0x20), 8, "flags 0x20"),
        bad(part().record(0, 0x0a), 8, "flags 0xa"),
        bad(part().record(0, 0x80), 8, "RDMA"),
        bad(part().record(0, 0x01), 8, "obsolete"),
        bad(part().record(0, 0x400), 8, "flags 0x400"),
        bad(part().record(1, 0x10), 8, "with address 0x1000"),
        bad(part().record(0, 0x28), 8, "no page before"),
        bad(part().record(0, 8).name("vga"), 4, "RAM block 'vga', which the stream did not list"),
        bad(part().record(16, 8).name("pc.ram"), 15, "offset 0x10000 of RAM block 'pc.ram'"),
        bad(part().be64(1L << 63 | 8).name("pc.ram"), 15, "offset 0x8000000000000000"),
        bad(part().record(0, 0x40).name("pc.ram").hex("02 0001"), 3, "encoding 2"),
        bad(part().record(0, 0x40).name("pc.ram").hex("01 1001"), 2, "an XBZRLE page of 4097"),
        bad(part().record(0, 0x100).name("pc.ram").be32(0), 4, "a compressed page of 0"),
        bad(part().record(0, 0x100).name("pc.ram").be32(4111), 4, "a compressed page of 4111"),
        bad(part().zero("pc.ram", 0).eos().u8(2), 1, "where the section's footer"),
        bad(part().eos().u8(0x7e).be32(9), 4, "the footer of section 9 ends section 7"),
        bad(part().eos().footer().start(), 11, "a second START section 'ram'"),
        bad(part().eos().footer().u8(3).be32(8), 4, "END of section 8"));
  }

  @ParameterizedTest(name = "{2}")
  @MethodSource("faults")
  void aFaultIsRefusedWithItsPlace(StreamBytes stream, int back, String says) {
    MigrationException e = ReaderRun.of(stream.toBytes()).failure();
    assertThat(e).hasMessageContaining(says);
    assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
    assertThat(e).hasMessageContaining("byte " + (stream.size() - back) + " of the QEMU stream");
  }

  /** Compressed pages that are damaged, and what is said. */
  static Stream<Arguments> damaged() {
    byte[] packed = StreamBytes.deflate(page(1));
    byte[] half = StreamBytes.deflate(new byte[PAGE / 2]);
    byte[] twice = StreamBytes.deflate(new byte[2 * PAGE]);
    byte[] longer = java.util.Arrays.copyOf(packed, packed.length + 2);
    byte[] shorter = java.util.Arrays.copyOf(packed, packed.length - 1);
    byte[] flipped = packed.clone();
    flipped[flipped.length - 1] ^= 1;
    return Stream.of(
        Arguments.of(half, "does not inflate to a page of 4096"),
        Arguments.of(twice, "does not inflate to a page of 4096"),
        Arguments.of(longer, "has 2 bytes too many"),
        Arguments.of(shorter, "does not inflate to a page"),
        Arguments.of(flipped, "is damaged"),
        Arguments.of(new byte[] {1, 2, 3}, "is damaged"));
  }

  @ParameterizedTest(name = "{1}")
  @MethodSource("damaged")
  void aDamagedCompressedPageIsRefused(byte[] packed, String says) {
    byte[] stream =
        part().record(2, 0x100).name("pc.ram").be32(packed.length).bytes(packed).finish().toBytes();
    MigrationException e = ReaderRun.of(stream).failure();
    assertThat(e).hasMessageContaining("at offset 0x2000 of RAM block 'pc.ram' " + says);
    assertThat(e.kind()).isEqualTo(Kind.INTEGRITY);
  }
}
