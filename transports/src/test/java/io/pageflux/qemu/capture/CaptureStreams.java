package io.pageflux.qemu.capture;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;

/** Pieces of a stream as hexadecimal digits, put together from the format's description. */
final class CaptureStreams {

  static final int PAGE = 4096;

  private CaptureStreams() {}

  static byte[] bytes(String... hex) {
    return HexFormat.of().parseHex(String.join("", hex).replace(" ", ""));
  }

  static String name(String name) {
    byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
    return "%02x".formatted(bytes.length) + HexFormat.of().formatHex(bytes);
  }

  static String opening(String commands) {
    String machine = "pc-i440fx-7.2";
    return "5145564d 00000003 07 000000"
        + name(machine)
        + commands
        + ("01 00000002" + name("ram") + "00000000 00000004");
  }

  static String blocks(Object... namesAndSizes) {
    long total = 0;
    StringBuilder list = new StringBuilder();
    for (int i = 0; i < namesAndSizes.length; i += 2) {
      long size = ((Number) namesAndSizes[i + 1]).longValue();
      total += size;
      list.append(name((String) namesAndSizes[i])).append("%016x".formatted(size));
    }
    return "%016x".formatted(total | 4) + list + "0000000000000010 7e 00000002";
  }

  /** Page 1 of a block, filled with a byte, and the end of the RAM. */
  static String page(String block, int fill) {
    return "02 00000002 0000000000001008"
        + name(block)
        + "%02x".formatted(fill).repeat(PAGE)
        + "0000000000000010 7e 00000002";
  }

  static final String END = "03 00000002 0000000000000010 7e 00000002";

  static String description() {
    String json = "{\"devices\": [{\"name\": \"timer\", \"instance_id\": 0, \"version\": 2}]}";
    return "00 06 %08x".formatted(json.length())
        + HexFormat.of().formatHex(json.getBytes(StandardCharsets.US_ASCII));
  }

  static String stream(String commands) {
    return opening(commands)
        + blocks("pc.ram", 4 * PAGE, "empty", 0, "pc/ram", 2 * PAGE)
        + page("pc.ram", 0x55)
        + END
        + "04 0000000900"
        + description();
  }
}
