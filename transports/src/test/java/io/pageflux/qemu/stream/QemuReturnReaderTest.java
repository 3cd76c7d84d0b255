package io.pageflux.qemu.stream;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What a destination says is read, and nothing of it is believed. */
class QemuReturnReaderTest {

  private static final int PAGE = 4096;

  private static final RamLayout LAYOUT =
      new RamLayout(
          List.of(
              new RamBlockLayout("pc.ram", 130L * PAGE, PAGE),
              new RamBlockLayout("bios", 64L * PAGE, PAGE)));

  private static byte[] message(int type, byte[] payload) {
    return ByteBuffer.allocate(4 + payload.length)
        .putShort((short) type)
        .putShort((short) payload.length)
        .put(payload)
        .array();
  }

  private static byte[] number(int type, int value) {
    return message(type, ByteBuffer.allocate(4).putInt(value).array());
  }

  private static byte[] name(String block) {
    byte[] name = block.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(1 + name.length).put((byte) name.length).put(name).array();
  }

  private static byte[] request(long start, int bytes, String block) {
    byte[] name = block.isEmpty() ? new byte[0] : name(block);
    return message(
        block.isEmpty() ? 4 : 3,
        ByteBuffer.allocate(12 + name.length).putLong(start).putInt(bytes).put(name).array());
  }

  private static byte[] join(byte[]... parts) {
    ByteArrayOutputStream all = new ByteArrayOutputStream();
    for (byte[] part : parts) {
      all.writeBytes(part);
    }
    return all.toByteArray();
  }

  private static byte[] bitmap(String block, long bytes, byte[] bits, long end) {
    return join(
        message(5, name(block)),
        ByteBuffer.allocate(8).putLong(bytes).array(),
        bits,
        ByteBuffer.allocate(8).putLong(end).array());
  }

  private static final long END = 0x0123456789abcdefL;

  /** All there is. */
  private static byte[] conversation() {
    byte[] bits = new byte[24];
    bits[0] = 0b101; // pages 0 and 2
    bits[8] = (byte) 0x80; // page 71
    bits[16] = 0b111; // pages 128, 129, and one behind the end
    return join(
        number(2, 7),
        request(3L * PAGE, PAGE, "pc.ram"),
        request(128L * PAGE, 2 * PAGE, ""),
        request(0, PAGE, "bios"),
        bitmap("pc.ram", 24, bits, END),
        message(7, new byte[0]),
        number(6, 1),
        number(1, 0));
  }

  private static List<QemuReturnMessage> read(QemuReturnReader reader, ByteBuffer in) {
    List<QemuReturnMessage> messages = new ArrayList<>();
    for (QemuReturnMessage m = reader.read(in); m != null; m = reader.read(in)) {
      messages.add(m);
    }
    assertThat(in.hasRemaining()).isFalse();
    return messages;
  }

  private static void assertConversation(List<QemuReturnMessage> messages) {
    assertThat(messages).hasSize(8);
    assertThat(messages.subList(0, 4))
        .containsExactly(
            new QemuReturnMessage.Pong(7),
            new QemuReturnMessage.PageRequest(0, 3, 1),
            new QemuReturnMessage.PageRequest(0, 128, 2),
            new QemuReturnMessage.PageRequest(1, 0, 1));
    QemuReturnMessage.ReceivedPages received = (QemuReturnMessage.ReceivedPages) messages.get(4);
    List<Long> pages = new ArrayList<>();
    received
        .pages()
        .forEachRun((from, to) -> java.util.stream.LongStream.range(from, to).forEach(pages::add));
    assertThat(received.block()).isZero();
    assertThat(pages).containsExactly(0L, 2L, 71L, 128L, 129L);
    assertThat(messages.subList(5, 8))
        .containsExactly(
            new QemuReturnMessage.SwitchoverAck(),
            new QemuReturnMessage.ResumeAck(),
            new QemuReturnMessage.Shut(0));
  }

  @Test
  void everyMessageIsReadHoweverItIsCut() {
    byte[] all = conversation();
    assertConversation(read(new QemuReturnReader(LAYOUT), ByteBuffer.wrap(all)));
    for (int size = 1; size < 40; size++) {
      QemuReturnReader reader = new QemuReturnReader(LAYOUT);
      List<QemuReturnMessage> messages = new ArrayList<>();
      for (int at = 0; at < all.length; at += size) {
        messages.addAll(
            read(reader, ByteBuffer.wrap(all, at, Math.min(size, all.length - at)).slice()));
      }
      assertConversation(messages);
      assertThat(reader.bytesRead()).isEqualTo(all.length);
      reader.end();
    }
  }

  @Test
  void anEndAtAnyByteIsNoticed() {
    byte[] all = conversation();
    QemuReturnReader whole = new QemuReturnReader(LAYOUT);
    for (int end = 0; end < all.length; end++) {
      QemuReturnReader reader = new QemuReturnReader(LAYOUT);
      int messages = read(reader, ByteBuffer.wrap(all, 0, end)).size();
      boolean between = isBetween(all, end);
      if (between) {
        reader.end();
      } else {
        assertThatThrownBy(reader::end)
            .as("after byte %d and %d messages", end, messages)
            .isInstanceOfSatisfying(
                MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.TRANSPORT))
            .hasMessageContaining("after byte " + end);
      }
    }
    whole.end();
  }

  /** Whether some messages end there: then one byte more begins the next. */
  private static boolean isBetween(byte[] all, int end) {
    int[] lengths = {8, 4 + 19, 16, 4 + 17, 11 + 8 + 24 + 8, 4, 8, 8};
    int at = 0;
    for (int length : lengths) {
      if (at == end) {
        return true;
      }
      at += length;
    }
    assertThat(at).isEqualTo(all.length);
    return false;
  }

  private static void assertRefused(byte[] bytes, String... reasons) {
    QemuReturnReader reader = new QemuReturnReader(LAYOUT);
    assertThatThrownBy(() -> read(reader, ByteBuffer.wrap(bytes)))
        .isInstanceOfSatisfying(
            MigrationException.class, e -> assertThat(e.kind()).isEqualTo(Kind.PROTOCOL))
        .hasMessageContainingAll(reasons);
    assertThatThrownBy(() -> reader.read(ByteBuffer.allocate(0)))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void whatCannotBeMeantIsRefusedWithTheReason() {
    assertRefused(number(8, 0), "byte 0", "type 8");
    assertRefused(join(number(2, 0), number(0, 0)), "byte 8", "type 0");
    assertRefused(message(1, new byte[5]), "SHUT with 5 bytes");
    assertRefused(message(4, new byte[13]), "REQ_PAGES with 13 bytes");
    assertRefused(message(3, new byte[13]), "REQ_PAGES_ID with 13 bytes");
    assertRefused(message(3, new byte[400]), "REQ_PAGES_ID with 400 bytes");
    assertRefused(request(0, PAGE, ""), "before any that names a block");
    assertRefused(request(0, PAGE, "vga"), "'vga'");
    assertRefused(request(130L * PAGE, PAGE, "pc.ram"), "offset 0x82000", "0x82000 bytes");
    assertRefused(request(129L * PAGE, 2 * PAGE, "pc.ram"), "8192 bytes");
    assertRefused(request(-PAGE, PAGE, "pc.ram"), "0xfffffffffffff000");
    assertRefused(request(Long.MAX_VALUE, PAGE, "pc.ram"), "0x7fffffffffffffff");
    assertRefused(request(0, -PAGE, "pc.ram"), "4294963200 bytes");
    assertRefused(request(1, PAGE, "pc.ram"), "offset 0x1", "4096");
    assertRefused(request(0, 1, "pc.ram"), "1 bytes");
    assertRefused(request(0, 0, "pc.ram"), "0 bytes");
    assertRefused(number(6, 2), "RESUME_ACK", "2");
    assertRefused(bitmap("vga", 24, new byte[24], END), "'vga'");
    assertRefused(bitmap("pc.ram", 16, new byte[16], END), "16 bytes", "take 24");
    assertRefused(bitmap("pc.ram", 1L << 62, new byte[24], END), "take 24");
    assertRefused(bitmap("pc.ram", -1, new byte[24], END), "18446744073709551615");
    assertRefused(bitmap("pc.ram", 24, new byte[24], END + 1), "0x0123456789abcdf0");
    assertRefused(message(5, new byte[] {3, 'a', 'b'}), "name of 3 bytes");
    assertRefused(message(5, new byte[] {1, (byte) 0xff}), "UTF-8");
  }

  @Test
  void noBytesMakeItFailOtherwise() {
    Random random = new Random(5);
    byte[] good = conversation();
    for (int run = 0; run < 20_000; run++) {
      byte[] bytes = good.clone();
      for (int i = random.nextInt(4); i >= 0; i--) {
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt(256);
      }
      QemuReturnReader reader = new QemuReturnReader(LAYOUT);
      try {
        read(reader, ByteBuffer.wrap(bytes));
        reader.end();
      } catch (MigrationException e) {
        assertThat(e.kind()).as("run %d", run).isIn(Kind.PROTOCOL, Kind.TRANSPORT);
      }
    }
  }
}
