package io.pageflux.qemu.stream;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What a destination says, byte by byte, and as its source's side reads it. */
class QemuReturnWriterTest {

  private static final int PAGE = 4096;

  private static final RamLayout LAYOUT =
      new RamLayout(
          List.of(
              new RamBlockLayout("pc.ram", 130L * PAGE, PAGE),
              new RamBlockLayout("bios", 64L * PAGE, PAGE)));

  private final QemuReturnWriter writer = new QemuReturnWriter(LAYOUT);

  private static String hex(ByteBuffer message) {
    byte[] bytes = new byte[message.remaining()];
    message.get(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  @Test
  void whatNamesNoBlock() {
    assertThat(hex(QemuReturnWriter.shut(QemuReturnWriter.SUCCESS))).isEqualTo("0001000400000000");
    assertThat(hex(QemuReturnWriter.shut(QemuReturnWriter.FAILURE))).isEqualTo("0001000400000001");
    assertThat(hex(QemuReturnWriter.pong(0x01020304))).isEqualTo("0002000401020304");
    assertThat(hex(QemuReturnWriter.resumeAck())).isEqualTo("0006000400000001");
    assertThat(hex(QemuReturnWriter.switchoverAck())).isEqualTo("00070000");
  }

  @Test
  void aRequestNamesItsBlockIfTheOneBeforeWasForAnother() {
    assertThat(hex(writer.pageRequest(0, 3, 1)))
        .isEqualTo("00030013" + "0000000000003000" + "00001000" + "06" + "70632e72616d");
    assertThat(hex(writer.pageRequest(0, 128, 2)))
        .isEqualTo("0004000c" + "0000000000080000" + "00002000");
    assertThat(hex(writer.pageRequest(1, 0, 64)))
        .isEqualTo("00030011" + "0000000000000000" + "00040000" + "04" + "62696f73");
    assertThat(hex(writer.pageRequest(0, 0, 1))).startsWith("00030013");
  }

  @Test
  void theArrivedPagesAreLittleEndianWords() {
    PageSet pages = new PageSet(130);
    pages.add(0);
    pages.add(2);
    pages.add(71);
    pages.addRange(128, 130);
    assertThat(hex(writer.receivedPages(0, pages)))
        .isEqualTo(
            "00050007"
                + "0670632e72616d"
                + "0000000000000018"
                + "0500000000000000"
                + "8000000000000000"
                + "0300000000000000"
                + "0123456789abcdef");
  }

  @Test
  void whatDoesNotFitTheBlocksIsRefused() {
    assertThatThrownBy(() -> writer.pageRequest(0, 129, 2))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> writer.pageRequest(0, -1, 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> writer.pageRequest(0, 0, 0))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> writer.receivedPages(0, new PageSet(64)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("64 pages");
    RamLayout large = new RamLayout(List.of(new RamBlockLayout("ram", 1L << 40, PAGE)));
    assertThatThrownBy(() -> new QemuReturnWriter(large).pageRequest(0, 0, 1 << 20))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("4294967296 bytes");
  }

  @Test
  void whateverIsWrittenIsReadBack() {
    Random random = new Random(11);
    for (int run = 0; run < 200; run++) {
      QemuReturnWriter out = new QemuReturnWriter(LAYOUT);
      QemuReturnReader in = new QemuReturnReader(LAYOUT);
      for (int i = 0; i < 50; i++) {
        QemuReturnMessage message = any(random);
        ByteBuffer bytes = out.write(message);
        QemuReturnMessage read = in.read(bytes);
        if (message instanceof QemuReturnMessage.ReceivedPages sent) {
          QemuReturnMessage.ReceivedPages back =
              (QemuReturnMessage.ReceivedPages) Objects.requireNonNull(read);
          assertThat(back.block()).isEqualTo(sent.block());
          assertThat(runs(back.pages())).isEqualTo(runs(sent.pages()));
        } else {
          assertThat(read).isEqualTo(message);
        }
        assertThat(bytes.hasRemaining()).isFalse();
      }
      in.end();
    }
  }

  private static QemuReturnMessage any(Random random) {
    int block = random.nextInt(2);
    int pages = (int) LAYOUT.blocks().get(block).pageCount();
    return switch (random.nextInt(6)) {
      case 0 -> new QemuReturnMessage.Shut(random.nextInt());
      case 1 -> new QemuReturnMessage.Pong(random.nextInt());
      case 2 -> {
        int first = random.nextInt(pages);
        yield new QemuReturnMessage.PageRequest(block, first, random.nextInt(1, pages - first + 1));
      }
      case 3 -> {
        PageSet set = new PageSet(pages);
        for (int i = random.nextInt(pages); i >= 0; i--) {
          set.add(random.nextInt(pages));
        }
        yield new QemuReturnMessage.ReceivedPages(block, set);
      }
      case 4 -> new QemuReturnMessage.ResumeAck();
      default -> new QemuReturnMessage.SwitchoverAck();
    };
  }

  private static String runs(PageSet pages) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    pages.forEachRun(
        (from, to) -> {
          out.write((int) from);
          out.write((int) to);
        });
    return HexFormat.of().formatHex(out.toByteArray());
  }
}
