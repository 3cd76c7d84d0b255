package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;

import com.github.luben.zstd.Zstd;
import io.pageflux.MigrationException;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.io.ByteArrayInputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The document says what the code does, byte by byte; and so neither changes by accident. */
class WireFormatDocumentTest {

  private final SlabPool pool = new SlabPool(1, GoldenStream.GEOMETRY);

  @AfterEach
  void noSlabIsLeft() {
    assertThat(pool.outstanding()).isZero();
    pool.close();
  }

  private static byte[] documented() throws Exception {
    StringBuilder hex = new StringBuilder();
    GoldenStream.codeBlock("hex")
        .lines()
        .forEach(line -> hex.append(line.replaceAll(";.*", "").replace(" ", "")));
    return HexFormat.of().parseHex(hex);
  }

  @Test
  void theWriterWritesTheDocumentedBytes() throws Exception {
    byte[] written = GoldenStream.written(pool).bytes();
    HexFormat hex = HexFormat.ofDelimiter(" ");
    assertThat(hex.formatHex(written)).isEqualTo(hex.formatHex(documented()));
  }

  @Test
  void theReaderReadsTheDocumentedBytes() throws Exception {
    List<Object> seen = new ArrayList<>();
    Streams.read(new WireReader(), pool, ByteBuffer.wrap(documented()), seen);
    assertThat(seen).isEqualTo(GoldenStream.written(pool).expected);
  }

  @Test
  void theDocumentedFrameIsThePage() {
    byte[] page = new byte[512];
    assertThat(Zstd.decompress(page, GoldenStream.FRAME)).isEqualTo(512);
    assertThat(page).containsOnly((byte) 'A');
  }

  @Test
  void theDocumentedTextIsWhatThePrinterPrints() throws Exception {
    byte[] stream =
        Streams.concat(
            documented(),
            Streams.sealed(200, 1, 21, new byte[4]),
            Streams.sealed(RecordType.KEEP_ALIVE.code(), 0, 23, new byte[0]));
    StringBuilder text = new StringBuilder();
    assertThat(WirePrinter.print(new ByteArrayInputStream(stream), text)).isFalse();
    assertThat(text.toString().replace(System.lineSeparator(), "\n"))
        .isEqualTo(GoldenStream.codeBlock("text"));
  }

  @Test
  void theDocumentNamesAllTypesAndTheirLengths() throws Exception {
    Map<Integer, String> documented = new TreeMap<>();
    String document = GoldenStream.document();
    String table =
        document.substring(document.indexOf("## The records"), document.indexOf("### HELLO"));
    Matcher row =
        Pattern.compile("^\\| (\\d+) \\| `([A-Z_]+)` \\| ([^|]*) \\|", Pattern.MULTILINE)
            .matcher(table);
    while (row.find()) {
      documented.put(Integer.valueOf(row.group(1)), row.group(2) + " " + row.group(3));
    }
    Map<Integer, String> actual = new TreeMap<>();
    for (RecordType type : RecordType.values()) {
      String most = type == RecordType.PAGES ? "the slab" : "" + type.maxBodyBytes();
      boolean fixed = type.minBodyBytes() == type.maxBodyBytes();
      actual.put(
          type.code(), type.name() + " " + (fixed ? most : type.minBodyBytes() + " to " + most));
    }
    assertThat(documented).isEqualTo(actual);
  }

  @Test
  void theDocumentNamesAllFeaturesAndKinds() throws Exception {
    String document = GoldenStream.document();
    for (Feature feature : Feature.values()) {
      int bit = Long.numberOfTrailingZeros(feature.mask());
      assertThat(document).contains("| bit " + bit + " | `" + feature + "` |");
    }
    for (PageKind kind : PageKind.values()) {
      assertThat(document).contains("| " + kind.code() + " | `" + kind + "` |");
    }
    for (MigrationException.Kind kind : MigrationException.Kind.values()) {
      assertThat(document).contains(kind.code() + " `" + kind + "`");
    }
  }

  @Test
  void thePreambleIsInAscii() {
    ByteBuffer out = ByteBuffer.allocate(WireFormat.PREAMBLE_BYTES);
    WireFormat.putPreamble(out);
    assertThat(out.array()).isEqualTo("PAGEFLUX".getBytes(StandardCharsets.US_ASCII));
  }
}
