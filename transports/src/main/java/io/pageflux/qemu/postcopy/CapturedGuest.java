package io.pageflux.qemu.postcopy;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuRamLayout;
import io.pageflux.qemu.stream.QemuStreamReader;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A captured guest's files, opened for reading: what its stream begins with, its RAM, and its
 * devices' state.
 *
 * <p>Nothing in the files is believed: sizes and names are checked against one another before they
 * are used.
 *
 * <p><b>Memory bound:</b> the index, at most {@value #MAX_INDEX_BYTES} bytes; 256 KiB; and the end
 * of the stream while the description of the devices is looked for, at most {@value
 * #MAX_DESCRIPTION_BYTES} bytes.
 *
 * <p><b>Threading:</b> for one thread at a time, which may be blocked.
 */
final class CapturedGuest implements AutoCloseable {

  private static final String INDEX = "capture.json";
  private static final int MAX_INDEX_BYTES = 64 << 20;
  private static final int MAX_DESCRIPTION_BYTES = 16 << 20;

  /** Type and length of the description, and the end marker before it. */
  private static final int DESCRIPTION_HEAD_BYTES = 6;

  private static final int SECTION_FULL = 0x04;

  private final Path directory;
  private final List<FileChannel> open = new ArrayList<>();
  private final FileChannel stream;
  private final ByteBuffer configuration;
  private final int sectionId;
  private final QemuRamLayout ram;
  private final RamLayout layout;
  private final List<FileChannel> images;
  private final long devicesStart;
  private final long devicesBytes;

  private CapturedGuest(Path directory) throws IOException {
    this.directory = directory;
    JsonNode index = index(directory);
    boolean complete = false;
    try {
      stream = open(index.path("stream-file"), "the stream", index.path("stream-bytes").asLong());
      Head head = readHead(index.path("page-size").asInt());
      configuration = head.configuration.raw();
      sectionId = head.start.id();
      ram = head.ram.layout();
      layout = ram.toRamLayout(head.ram.pageSizeBytes());
      images = images(index);
      long tail = index.path("tail-bytes").asLong(-1);
      if (tail < 1 || tail > stream.size()) {
        throw damaged("it has %d bytes of devices' state".formatted(tail));
      }
      devicesStart = stream.size() - tail;
      devicesBytes = devicesEnd() - devicesStart;
      if (devicesBytes < 1 || read(stream, devicesStart, 1).get(0) != SECTION_FULL) {
        throw damaged("its stream has no devices' state at byte " + devicesStart);
      }
      complete = true;
    } finally {
      if (!complete) {
        close();
      }
    }
  }

  /**
   * Opens a capture.
   *
   * @throws IllegalArgumentException if there is none in the directory
   * @throws MigrationException of kind {@code INTEGRITY} if it is damaged
   */
  static CapturedGuest open(Path directory) throws IOException {
    return new CapturedGuest(directory);
  }

  private static JsonNode index(Path directory) throws IOException {
    Path file = directory.resolve(INDEX);
    if (!Files.isRegularFile(file)) {
      throw new IllegalArgumentException(
          "%s holds no complete capture: there is no %s. 'qemu-capture' makes one"
              .formatted(directory, INDEX));
    }
    long size = Files.size(file);
    if (size > MAX_INDEX_BYTES) {
      throw damaged(directory, "%s has %d bytes".formatted(INDEX, size));
    }
    JsonNode index;
    try {
      index = new ObjectMapper().readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw damaged(directory, INDEX + " is no JSON: " + e.getOriginalMessage());
    }
    if (!index.path("format").asText().equals("pageflux-qemu-capture")
        || index.path("version").asInt() != 1) {
      throw damaged(
          directory,
          "%s is of format '%s', version %s, where 'pageflux-qemu-capture', version 1 is known"
              .formatted(INDEX, index.path("format").asText(), index.path("version")));
    }
    return index;
  }

  private FileChannel open(JsonNode name, String what, long bytes) throws IOException {
    String text = name.asText();
    if (text.isEmpty() || text.contains("/") || text.equals("..") || text.indexOf(0) >= 0) {
      throw damaged("%s is said to be in the file '%s'".formatted(what, text));
    }
    Path file = directory.resolve(text);
    if (!Files.isRegularFile(file)) {
      throw damaged("%s is missing: there is no file '%s'".formatted(what, text));
    }
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    open.add(channel);
    if (channel.size() != bytes) {
      throw damaged(
          "%s in '%s' has %d bytes, and %d were captured"
              .formatted(what, text, channel.size(), bytes));
    }
    return channel;
  }

  private record Head(
      QemuElement.Configuration configuration,
      QemuElement.SectionStart start,
      QemuElement.RamBlocks ram) {}

  /** Reads the stream's beginning, up to the list of RAM blocks. */
  private Head readHead(int pageSize) throws IOException {
    if (Integer.bitCount(pageSize) != 1 || pageSize < 1 << 10 || pageSize > 2 << 20) {
      throw damaged("its pages have %d bytes".formatted(pageSize));
    }
    QemuElement.Configuration configured = null;
    QemuElement.SectionStart started = null;
    ByteBuffer in = ByteBuffer.allocate(64 << 10);
    try (QemuStreamReader reader =
        new QemuStreamReader(BatchGeometry.forPageSize(2 << 20), pageSize)) {
      for (long at = 0; stream.read(in.clear(), at) > 0; at += in.limit()) {
        in.flip();
        for (QemuElement e = reader.read(in); e != null; e = reader.read(in)) {
          switch (e) {
            case QemuElement.Configuration c -> configured = c;
            case QemuElement.SectionStart s -> started = s;
            case QemuElement.RamBlocks blocks -> {
              if (configured == null || started == null) {
                throw damaged("its stream has no configuration");
              }
              if (!configured.capabilities().isEmpty()) {
                throw damaged("its stream has the capabilities " + configured.capabilities());
              }
              return new Head(configured, started, blocks);
            }
            default -> {}
          }
        }
        if (reader.needsSlab()) {
          break;
        }
      }
    }
    throw damaged("its stream has no list of RAM blocks");
  }

  private List<FileChannel> images(JsonNode index) throws IOException {
    Map<String, JsonNode> files = new HashMap<>();
    index.path("ram-blocks").forEach(block -> files.put(block.path("name").asText(), block));
    List<FileChannel> channels = new ArrayList<>();
    for (RamBlockLayout block : layout.blocks()) {
      JsonNode file = files.get(block.name());
      if (file == null) {
        throw damaged(
            "%s does not name RAM block '%s', which is in the stream"
                .formatted(INDEX, block.name()));
      }
      channels.add(open(file.path("file"), "RAM block '" + block.name() + "'", block.sizeBytes()));
    }
    return channels;
  }

  /** {@return where the devices' state ends: before the end marker, and the description if any} */
  private long devicesEnd() throws IOException {
    long end = stream.size();
    int bytes = (int) Math.min(end - devicesStart, MAX_DESCRIPTION_BYTES);
    ByteBuffer last = read(stream, end - bytes, bytes);
    // The description is the last thing in the stream, so its length has to lead to the end.
    for (int at = bytes - DESCRIPTION_HEAD_BYTES; at >= 0; at--) {
      if (last.getShort(at) == 0x0006
          && last.getInt(at + 2) == bytes - at - DESCRIPTION_HEAD_BYTES) {
        return end - bytes + at;
      }
    }
    if (last.get(bytes - 1) == 0) {
      return end - 1; // suppress-vmdesc=on: nothing but the end marker
    }
    throw damaged("its stream does not end with the end marker or a description of the devices");
  }

  private ByteBuffer read(FileChannel file, long at, int bytes) throws IOException {
    ByteBuffer read = ByteBuffer.allocate(bytes);
    readFully(file, read, at);
    return read.flip();
  }

  private void readFully(FileChannel file, ByteBuffer into, long at) throws IOException {
    long from = at - into.position();
    while (into.hasRemaining()) {
      if (file.read(into, from + into.position()) < 0) {
        throw new EOFException("a file of %s has become shorter".formatted(directory));
      }
    }
  }

  private MigrationException damaged(String what) {
    return damaged(directory, what);
  }

  private static MigrationException damaged(Path directory, String what) {
    return MigrationException.of(
        Kind.INTEGRITY, "the capture in %s is damaged: %s".formatted(directory, what));
  }

  /** {@return the configuration, as it was in the stream} */
  ByteBuffer configuration() {
    return configuration.duplicate();
  }

  /**
   * {@return the number of the RAM's section} The devices' state has other ones, and a part of a
   * section finds the first of its number.
   */
  int sectionId() {
    return sectionId;
  }

  /** {@return the list of RAM blocks of the stream} */
  QemuRamLayout ram() {
    return ram;
  }

  /** {@return the blocks that have pages, and the size of these} */
  RamLayout layout() {
    return layout;
  }

  /** {@return how long the devices' state is} */
  long devicesBytes() {
    return devicesBytes;
  }

  /** Reads a piece of the devices' state into a buffer, up to its limit. */
  void readDevices(long at, ByteBuffer into) throws IOException {
    readFully(stream, into, devicesStart + at);
  }

  /** Reads contents of a block into a buffer, up to its limit. */
  void readRam(int block, long at, ByteBuffer into) throws IOException {
    readFully(images.get(block), into, at);
  }

  @Override
  public void close() throws IOException {
    IOException failure = null;
    for (FileChannel channel : open) {
      try {
        channel.close();
      } catch (IOException e) {
        failure = e;
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
