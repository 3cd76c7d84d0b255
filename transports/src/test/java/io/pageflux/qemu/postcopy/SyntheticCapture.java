package io.pageflux.qemu.postcopy;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamWriter;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** A capture of no guest: contents of every kind, and bytes in the place of the devices' state. */
final class SyntheticCapture {

  static final int PAGE = 4096;
  static final int SECTION_ID = 7;
  static final int DEVICES_BYTES = 150_000;

  final Path directory;
  final List<QemuRamLayout.Block> blocks = new ArrayList<>();
  final List<byte[]> contents = new ArrayList<>();
  final ObjectNode index = JsonNodeFactory.instance.objectNode();
  byte[] stream = new byte[0];

  /** Makes one with blocks {@code ram0}, {@code ram1} and so on, about a third of it zeros. */
  SyntheticCapture(Path directory, long seed, int... pages) {
    this.directory = directory;
    Random random = new Random(seed);
    for (int i = 0; i < pages.length; i++) {
      byte[] bytes = new byte[pages[i] * PAGE];
      for (int page = 0; page < pages[i]; page++) {
        if (random.nextInt(3) > 0) {
          byte[] content = new byte[PAGE];
          random.nextBytes(content);
          System.arraycopy(content, 0, bytes, page * PAGE, PAGE);
        }
      }
      contents.add(bytes);
      blocks.add(new QemuRamLayout.Block("ram" + i, bytes.length));
    }
    blocks.add(new QemuRamLayout.Block("empty", 0));
    makeStream(random);
    makeIndex();
  }

  private void makeStream(Random random) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    byte[] devices = new byte[DEVICES_BYTES];
    random.nextBytes(devices);
    devices[0] = 0x04;
    byte[] description = "{\"devices\": []}".getBytes(StandardCharsets.UTF_8);
    try (QemuStreamWriter writer = new QemuStreamWriter(SECTION_ID, 0)) {
      put(out, writer.header());
      put(out, writer.configuration("pc-test", List.of()));
      put(out, writer.sectionStart());
      put(out, writer.ramBlocks(new QemuRamLayout(blocks)));
      put(out, writer.endOfSection());
      put(out, writer.sectionEnd());
      put(out, writer.endOfSection());
    }
    int head = out.size();
    out.writeBytes(devices);
    out.writeBytes(new byte[] {0, 6});
    put(out, ByteBuffer.allocate(4).putInt(description.length).flip());
    out.writeBytes(description);
    stream = out.toByteArray();
    index.put("tail-bytes", stream.length - head);
    index.put("stream-bytes", stream.length);
  }

  private static void put(ByteArrayOutputStream out, ByteBuffer bytes) {
    out.write(bytes.array(), bytes.arrayOffset() + bytes.position(), bytes.remaining());
  }

  private void makeIndex() {
    index.put("format", "pageflux-qemu-capture").put("version", 1);
    index.put("stream-file", "stream").put("page-size", PAGE);
    ArrayNode list = index.putArray("ram-blocks");
    for (QemuRamLayout.Block block : blocks) {
      list.addObject()
          .put("name", block.name())
          .put("bytes", block.usedLengthBytes())
          .put("file", block.name() + ".ram");
    }
  }

  /** Writes the files. */
  SyntheticCapture write() {
    try {
      Files.createDirectories(directory);
      Files.write(directory.resolve("stream"), stream);
      for (int i = 0; i < contents.size(); i++) {
        Files.write(directory.resolve(blocks.get(i).name() + ".ram"), contents.get(i));
      }
      Files.write(directory.resolve("empty.ram"), new byte[0]);
      Files.writeString(directory.resolve("capture.json"), index.toString());
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
