package io.pageflux.qemu.capture;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuRamLayout;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * The files of a capture: partial ones until {@link #commit}.
 *
 * <p><b>Threading:</b> for one thread at a time, which may be blocked.
 */
final class CaptureFiles implements AutoCloseable {

  static final String STREAM = "stream";
  static final String INDEX = "capture.json";
  static final String PARTIAL = ".partial";

  private final Path directory;
  private final DiskSpace space;
  private final FileChannel stream;
  private final List<String> names = new ArrayList<>();
  private @Nullable GuestMemory memory;

  private CaptureFiles(Path directory, DiskSpace space, FileChannel stream) {
    this.directory = directory;
    this.space = space;
    this.stream = stream;
    names.add(STREAM);
  }

  /**
   * Makes a directory if it is missing.
   *
   * @throws IllegalArgumentException if there is something in it, or it is none
   * @throws IOException if it cannot be made or read
   */
  static void prepare(Path directory) throws IOException {
    if (Files.exists(directory) && !Files.isDirectory(directory)) {
      throw new IllegalArgumentException(
          directory + " is no directory: give a new or an empty one");
    }
    Files.createDirectories(directory);
    try (Stream<Path> files = Files.list(directory)) {
      files
          .findFirst()
          .ifPresent(
              file -> {
                throw new IllegalArgumentException(
                    "%s is not empty, it holds %s: give a new or an empty directory"
                        .formatted(directory, file.getFileName()));
              });
    }
  }

  /** Begins a capture in an empty directory. */
  static CaptureFiles begin(Path directory) throws IOException {
    return new CaptureFiles(
        directory,
        new DiskSpace(directory),
        FileChannel.open(
            directory.resolve(STREAM + PARTIAL),
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE));
  }

  /** Appends to the stream. */
  void write(ByteBuffer bytes) throws IOException {
    space.use(bytes.remaining());
    while (bytes.hasRemaining()) {
      stream.write(bytes);
    }
  }

  /** Says that so many bytes are about to be written to the images. */
  void aboutToLoad(long bytes) throws IOException {
    space.use(bytes);
  }

  /**
   * Makes an image for each block, all zeros, and maps those that have bytes.
   *
   * @throws MigrationException of kind {@code LAYOUT} if there is no room for them
   */
  List<CaptureInfo.Image> makeImages(QemuElement.RamBlocks ram) throws IOException {
    List<QemuRamLayout.Block> blocks = ram.layout().blocks();
    space.require(ram.layout().totalBytes(), "the guest's RAM");
    List<String> files = ImageNames.of(blocks.stream().map(QemuRamLayout.Block::name).toList());
    List<CaptureInfo.Image> images = new ArrayList<>();
    GuestMemory.Builder builder = GuestMemory.builder().pageSize(ram.pageSizeBytes());
    for (int i = 0; i < files.size(); i++) {
      QemuRamLayout.Block block = blocks.get(i);
      Path file = directory.resolve(files.get(i) + PARTIAL);
      if (block.usedLengthBytes() == 0) {
        Files.createFile(file);
      } else {
        builder.file(block.name(), file, block.usedLengthBytes());
      }
      images.add(
          new CaptureInfo.Image(
              block.name(), files.get(i), block.usedLengthBytes(), ram.pageSizeBytes()));
    }
    memory = builder.build();
    names.addAll(files);
    return images;
  }

  /** {@return the images' memory: the blocks that have bytes, in the stream's order} */
  GuestMemory memory() {
    if (memory == null) {
      throw new IllegalStateException("there are no images yet");
    }
    return memory;
  }

  /** Puts everything on the disk, and gives the files their names; the index comes last. */
  void commit(ObjectNode index) throws IOException {
    close();
    for (String name : names) {
      sync(directory.resolve(name + PARTIAL));
    }
    for (String name : names) {
      complete(name);
    }
    syncDirectory();
    Path file = directory.resolve(INDEX + PARTIAL);
    Files.writeString(
        file,
        new ObjectMapper().writerWithDefaultPrettyPrinter().writeValueAsString(index) + "\n",
        StandardOpenOption.CREATE_NEW,
        StandardOpenOption.WRITE);
    sync(file);
    complete(INDEX);
    syncDirectory();
  }

  private static void sync(Path file) throws IOException {
    // What was written through a mapping is among it.
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }

  private void syncDirectory() throws IOException {
    try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  private void complete(String name) throws IOException {
    Path file = directory.resolve(name);
    if (Files.exists(file)) {
      throw MigrationException.of(
          Kind.INTERNAL, "somebody else has made " + file + " during the capture");
    }
    Files.move(directory.resolve(name + PARTIAL), file);
  }

  /** Unmaps and closes what is open; the files stay as they are. */
  @Override
  public void close() throws IOException {
    if (memory != null) {
      memory.close();
    }
    stream.close();
  }
}
