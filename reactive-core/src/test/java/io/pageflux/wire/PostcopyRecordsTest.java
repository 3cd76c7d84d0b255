package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The records of post-copy: as documented, and with every check of a hostile one. */
class PostcopyRecordsTest {

  private static Streams.Builder written() {
    return new Streams.Builder()
        .add(
            new WireRecord.Hello(
                1,
                1,
                Feature.POSTCOPY.mask(),
                Feature.POSTCOPY.mask(),
                UUID.fromString("00112233-4455-6677-8899-aabbccddeeff"),
                1,
                2,
                "pf"))
        .add(new WireRecord.PostcopyAdvise(4096, 256))
        .add(new WireRecord.PostcopyListen())
        .add(
            new WireRecord.Discard(
                0, List.of(new WireRecord.Discard.Run(2, 3), new WireRecord.Discard.Run(8, 1))))
        .add(new WireRecord.PostcopyBegin(32, 4, 5))
        .add(new WireRecord.PageRequest(0, 3, 1))
        .add(new WireRecord.PostcopyEnd(3, 1))
        .add(new WireRecord.PostcopyComplete(4))
        .add(new WireRecord.GuestRuns(4, 2, 1))
        .add(new WireRecord.PostcopyResume(2));
  }

  @Test
  void theDocumentShowsTheBytes() throws Exception {
    StringBuilder hex = new StringBuilder();
    GoldenStream.codeBlock("postcopy")
        .lines()
        .forEach(line -> hex.append(line.replaceAll(";.*", "").replace(" ", "")));
    HexFormat spaced = HexFormat.ofDelimiter(" ");
    assertThat(spaced.formatHex(written().bytes()))
        .isEqualTo(spaced.formatHex(HexFormat.of().parseHex(hex)));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "32 | 00000fff 00000001 | a host's page size is a power of two",
        "32 | 40000001 00000001 | the host's page size is 1073741825, but at most 1073741824",
        "32 | 00000100 00000001 | from 512",
        "32 | 00001000 00000000 | 1 to 65536 pages may be asked for at a time",
        "32 | 00001000 00010001 | the most requests is 65537, but at most 65536",
        "34 | 00001000 00000001 0000000000000000 0000000000000001 | the block is 4096",
        "34 | 00000000 00000000 0000000000000000 0000000000000001 | 1 to 4096 runs",
        "34 | 00000000 00001001 0000000000000000 0000000000000001 | runs is 4097",
        "34 | 00000000 00000002 0000000000000000 0000000000000001 | the body ends before",
        "34 | 00000000 00000001 ffffffffffffffff 0000000000000001 | no run of 1 pages",
        "34 | 00000000 00000001 0000000000000000 0000000000000000 | no run of 0 pages",
        "34 | 00000000 00000001 7fffffffffffffff 0000000000000001 | no run of 1 pages",
        "34 | 00000000 00000002 0000000000000005 0000000000000002 0000000000000007 0000000000000001 | a run"
            + " of discarded pages from page 7 follows one up to page 6",
        "35 | 8000000000000000 0000000000000000 0000000000000000 | the number of pages",
        "35 | 0000000000000000 8000000000000000 0000000000000000 | the number of absent pages",
        "36 | 00000000 00000000 0000000000000000 | 1 to 65536 pages are asked for at a time",
        "36 | 00000000 00010001 0000000000000000 | the requested pages is 65537",
        "36 | 00001000 00000001 0000000000000000 | the block is 4096",
        "36 | 00000000 00000001 8000000000000000 | the first page",
        "37 | 7fffffffffffffff 0000000000000001 | the number of pages",
        "38 | 8000000000000000 | absent pages that have come",
        "39 | 0000000000000004 0000000000000005 0000000000000000 | of 4 absent pages 5 are missing",
        "39 | 0000000000000004 0000000000000004 0000000000000005 | and 5 were written",
        "39 | 8000000000000000 0000000000000000 0000000000000000 | the number of absent pages",
        "40 | 8000000000000000 | the number of missing pages",
      })
  void whatCannotBeIsRefused(int type, String body, String why) {
    WireReader reader = new WireReader();
    reader.read(ByteBuffer.wrap(new Streams.Builder().add(Streams.HELLO).bytes()));
    byte[] bytes = HexFormat.of().parseHex(body.replace(" ", ""));
    assertThatThrownBy(() -> reader.read(ByteBuffer.wrap(Streams.sealed(type, 0, 1, bytes))))
        .isInstanceOfSatisfying(
            MigrationException.class,
            e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.PROTOCOL))
        .hasMessageContaining(why);
  }

  /** Prints the documented bytes, for who changes them. */
  public static void main(String[] args) {
    System.out.println(HexFormat.of().formatHex(written().bytes()));
  }
}
