package io.pageflux.wire;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.page.SlabPool;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class WirePrinterTest {

  private static List<String> print(byte[] stream, boolean inOrder) throws IOException {
    StringBuilder text = new StringBuilder();
    assertThat(WirePrinter.print(new ByteArrayInputStream(stream), text)).isEqualTo(inOrder);
    return text.toString().lines().toList();
  }

  private static byte[] everything() {
    try (SlabPool pool = new SlabPool(1, Streams.GEOMETRY)) {
      return Streams.everything(pool, new Random(1)).bytes();
    }
  }

  @Test
  void aStreamInOrderHasALineForEachRecordAndEachType(@TempDir Path directory) throws Exception {
    byte[] stream = everything();
    Path file = Files.write(directory.resolve("captured"), stream);
    StringBuilder text = new StringBuilder();
    assertThat(WirePrinter.print(file, text)).isTrue();
    List<String> lines = text.toString().lines().toList();
    assertThat(lines).hasSize(34 + 29).isEqualTo(print(stream, true));
    assertThat(lines).noneMatch(line -> line.startsWith("error"));
    long bytes =
        lines.stream()
            .filter(line -> line.strip().startsWith("total"))
            .mapToLong(line -> Long.parseLong(line.strip().split(" +")[2]))
            .sum();
    assertThat(bytes + WireFormat.PREAMBLE_BYTES).isEqualTo(stream.length);
  }

  @Test
  void aFaultIsTheLastLine() throws Exception {
    byte[] stream = everything();
    byte[] damaged = stream.clone();
    damaged[stream.length - 30] ^= 1;
    assertThat(print(damaged, false).getLast())
        .startsWith("error: INTEGRITY: ")
        .contains("at byte");
    assertThat(print(Streams.prefix(stream, stream.length - 1), false).getLast())
        .startsWith("error: TRANSPORT: the connection ended at byte " + (stream.length - 1));
    assertThat(print(new byte[0], false))
        .containsExactly(
            "error: TRANSPORT: the connection ended at byte 0, where 8 of the 8 bytes of the"
                + " preamble were still to come");
  }

  @Test
  void textOfThePeerCannotFoolATerminal() throws Exception {
    Streams.Builder stream = new Streams.Builder().add(Streams.HELLO);
    stream.add(
        new WireRecord.Failure(
            MigrationException.Kind.GUEST, "\033[2J\r\nfaked line\u202e" + "x".repeat(500)));
    List<String> lines = print(stream.bytes(), true);
    assertThat(lines).hasSize(4);
    assertThat(lines.get(1))
        .contains("GUEST: \"\\u{1b}[2J\\u{d}\\u{a}faked line\\u{202e}xxx")
        .endsWith("x\" and 317 more characters");
  }

  @Test
  void whatBatchesNeedIsTakenFromTheFirstLayoutOnly() throws Exception {
    Streams.Builder stream = new Streams.Builder().add(Streams.HELLO);
    for (int i = 0; i < 3; i++) {
      stream.add(new WireRecord.Layout(Streams.LAYOUT, Streams.GEOMETRY));
    }
    assertThat(print(stream.bytes(), true)).hasSize(4 + 2);
  }
}
