package io.pageflux.memory;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class GuestMemoryTest {

  private static final int PAGE = 4096;

  @TempDir private Path directory;

  private static void touchBothEnds(RamBlock block) {
    MemorySegment segment = block.segment();
    assertThat(segment.byteSize()).isEqualTo(block.sizeBytes());
    for (long at : new long[] {0, block.sizeBytes() - 1}) {
      assertThat(segment.get(ValueLayout.JAVA_BYTE, at)).isZero();
      segment.set(ValueLayout.JAVA_BYTE, at, (byte) 7);
      assertThat(segment.get(ValueLayout.JAVA_BYTE, at)).isEqualTo((byte) 7);
    }
  }

  @Test
  void anonymousAndMemfdBlocksAreFreshZeros() {
    try (GuestMemory memory =
        GuestMemory.builder().anonymous("a", 4 * PAGE).memfd("m", 8 * PAGE).build()) {
      memory.blocks().forEach(GuestMemoryTest::touchBothEnds);
      assertThat(memory.block("a").takeFresh()).isTrue();
      assertThat(memory.block("a").backing()).isEqualTo(RamBlock.Backing.ANONYMOUS);
      assertThat(memory.block("m").takeFresh()).isTrue();
      assertThat(memory.block("m").backing()).isEqualTo(RamBlock.Backing.MEMFD);
      assertThat(memory.block("m").index()).isEqualTo(1);
      assertThat(memory.sizeBytes()).isEqualTo(12 * PAGE);
      assertThatThrownBy(() -> memory.block("x"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("'x'");
    }
  }

  @Test
  void blocksMayBeLargerThanTwoGibibytes() {
    long size = (5L << 30) + PAGE;
    try (GuestMemory memory =
        GuestMemory.builder()
            .anonymous("a", size)
            .memfd("m", size)
            .pageSize(2 << 20)
            .anonymous("h", 6L << 30)
            .build()) {
      memory.blocks().forEach(GuestMemoryTest::touchBothEnds);
      assertThat(memory.block("a").pageOffset(memory.block("a").pageCount())).isEqualTo(size);
      assertThat(memory.block("h").pageOffset(3071)).isEqualTo((6L << 30) - (2 << 20));
    }
  }

  private static long blocksOfFile(int descriptor) throws Exception {
    Process stat =
        new ProcessBuilder(
                "stat",
                "-L",
                "-c",
                "%b",
                "/proc/" + ProcessHandle.current().pid() + "/fd/" + descriptor)
            .start();
    return Long.parseLong(new String(stat.getInputStream().readAllBytes(), UTF_8).strip());
  }

  @Test
  void aSharedBlockKeepsItsSizeAndItsPagesCanBeGivenBack() throws Exception {
    int descriptor;
    try (GuestMemory memory =
        GuestMemory.builder().shared("s", 4 * PAGE).anonymous("a", PAGE).build()) {
      RamBlock.SharedFile file = Objects.requireNonNull(memory.block("s").sharedFile());
      assertThat(memory.block("a").sharedFile()).isNull();
      descriptor = file.descriptor();
      Path path = Path.of("/proc/self/fd/" + descriptor);
      assertThat(Files.readSymbolicLink(path).toString()).contains(file.fileName());
      try (RandomAccessFile opened = new RandomAccessFile(path.toFile(), "rw")) {
        assertThatThrownBy(() -> opened.setLength(PAGE)).isInstanceOf(IOException.class);
        assertThatThrownBy(() -> opened.setLength(5 * PAGE)).isInstanceOf(IOException.class);
      }
      memory.blocks().forEach(block -> block.segment().fill((byte) 7));
      assertThat(blocksOfFile(descriptor)).isEqualTo(4 * PAGE / 512);
      assertThat(memory.releasePages()).isEqualTo(5 * PAGE);
      assertThat(blocksOfFile(descriptor)).isZero();
      for (RamBlock block : memory.blocks()) {
        assertThat(block.segment().toArray(ValueLayout.JAVA_BYTE)).containsOnly((byte) 0);
      }
    }
    assertThat(Path.of("/proc/self/fd/" + descriptor))
        .satisfies(
            closed ->
                assertThat(
                        Files.isSymbolicLink(closed)
                            && Files.readSymbolicLink(closed).toString().contains("pageflux-"))
                    .isFalse());
  }

  @Test
  void aNamedFileIsNotGivenBack() throws IOException {
    Path file = directory.resolve("somebodys");
    try (GuestMemory memory = GuestMemory.builder().file("f", file, PAGE).build()) {
      memory.block("f").segment().fill((byte) 7);
      assertThat(memory.releasePages()).isZero();
      assertThat(memory.block("f").segment().get(ValueLayout.JAVA_BYTE, 0)).isEqualTo((byte) 7);
    }
  }

  @Test
  void aMissingFileIsMadeSparseAndFresh() throws IOException {
    Path file = directory.resolve("new");
    long size = 3L << 30;
    try (GuestMemory memory = GuestMemory.builder().file("f", file, size).build()) {
      touchBothEnds(memory.block("f"));
      assertThat(memory.block("f").takeFresh()).isTrue();
      assertThat(memory.block("f").backing()).isEqualTo(RamBlock.Backing.FILE);
    }
    assertThat(Files.size(file)).isEqualTo(size);
    try (RandomAccessFile opened = new RandomAccessFile(file.toFile(), "r")) {
      assertThat(opened.read()).isEqualTo(7);
    }
  }

  @Test
  void anExistingFileIsTakenAsItIs() throws IOException {
    Path file = directory.resolve("ram");
    byte[] bytes = new byte[2 * PAGE];
    bytes[PAGE] = 5;
    Files.write(file, bytes);
    try (GuestMemory memory =
        GuestMemory.builder().file("f", file).file("again", file, 2 * PAGE).build()) {
      assertThat(memory.block("f").takeFresh()).isFalse();
      assertThat(memory.block("again").takeFresh()).isFalse();
      assertThat(memory.block("f").segment().get(ValueLayout.JAVA_BYTE, PAGE)).isEqualTo((byte) 5);
      memory.block("f").segment().set(ValueLayout.JAVA_BYTE, 1, (byte) 6);
      assertThat(memory.block("again").segment().get(ValueLayout.JAVA_BYTE, 1)).isEqualTo((byte) 6);
    }
  }

  @Test
  void aFileOfAnotherSizeIsRefusedAndStaysAsItIs() throws IOException {
    Path file = directory.resolve("short");
    Files.write(file, new byte[PAGE]);
    assertThatThrownBy(() -> GuestMemory.builder().file("f", file, 2 * PAGE))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("4096")
        .hasMessageContaining("8192");
    assertThat(Files.size(file)).isEqualTo(PAGE);
    Files.write(file, new byte[PAGE + 1]);
    assertThatThrownBy(() -> GuestMemory.builder().file("f", file))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("4097");
    Files.write(file, new byte[0]);
    assertThatThrownBy(() -> GuestMemory.builder().file("f", file))
        .isInstanceOf(IllegalArgumentException.class);
  }

  @Test
  void aMissingFileOfNoSizeAndADirectoryAreRefused() {
    assertThatThrownBy(() -> GuestMemory.builder().file("f", directory.resolve("none")))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("does not exist");
    assertThatThrownBy(() -> GuestMemory.builder().file("f", directory))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("regular file");
    assertThatThrownBy(() -> GuestMemory.builder().file("f", directory, PAGE))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("regular file");
  }

  @Test
  void aFileThatCannotBeMadeFailsTheBuild() throws IOException {
    Path file = directory.resolve("no/such/directory/ram");
    GuestMemory.Builder builder = GuestMemory.builder().anonymous("a", PAGE).file("f", file, PAGE);
    assertThatThrownBy(builder::build)
        .isInstanceOf(UncheckedIOException.class)
        .hasMessageContaining("no/such/directory");
  }

  @Test
  void blocksThatMakeNoLayoutAreRefused() {
    assertThatThrownBy(() -> GuestMemory.builder().build())
        .isInstanceOf(IllegalArgumentException.class);
    GuestMemory.Builder twice = GuestMemory.builder().anonymous("a", PAGE).anonymous("a", PAGE);
    assertThatThrownBy(twice::build)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("'a'");
    assertThatThrownBy(() -> GuestMemory.builder().anonymous("a", PAGE + 1))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> GuestMemory.builder().pageSize(3000).anonymous("a", 3000))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> GuestMemory.builder().anonymous("", PAGE))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> GuestMemory.builder().anonymous("ä".repeat(128), PAGE))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("256");
  }

  @Test
  void closedMemoryIsNotTouched() {
    GuestMemory memory = GuestMemory.builder().anonymous("a", PAGE).memfd("m", PAGE).build();
    assertThat(memory.isOpen()).isTrue();
    memory.close();
    memory.close();
    assertThat(memory.isOpen()).isFalse();
    for (RamBlock block : memory.blocks()) {
      assertThatThrownBy(() -> block.segment().get(ValueLayout.JAVA_BYTE, 0))
          .isInstanceOf(IllegalStateException.class);
    }
  }
}
