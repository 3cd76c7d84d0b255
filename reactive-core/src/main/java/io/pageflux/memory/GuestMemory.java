package io.pageflux.memory;

import io.pageflux.internal.Linux;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * The memory of a guest: named RAM blocks outside the heap.
 *
 * <p>Blocks are mappings: they cost address space at once and memory when they are touched, count
 * neither against the heap nor against {@code MaxDirectMemorySize}, and may be larger than 2 GiB.
 * They may be read and written from any thread. {@link #close()} unmaps all of them; whoever
 * touches a segment afterwards gets an {@code IllegalStateException}.
 */
public final class GuestMemory implements AutoCloseable {

  private final Arena arena;
  private final List<RamBlock> blocks;
  private final RamLayout layout;

  private GuestMemory(Arena arena, List<RamBlock> blocks) {
    this.arena = arena;
    this.blocks = List.copyOf(blocks);
    this.layout = new RamLayout(blocks.stream().map(RamBlock::layout).toList());
  }

  /** {@return a builder of a guest memory without blocks yet} */
  public static Builder builder() {
    return new Builder();
  }

  /** {@return the blocks, in order} */
  public List<RamBlock> blocks() {
    return blocks;
  }

  /** {@return the block with an index} */
  public RamBlock block(int index) {
    return blocks.get(index);
  }

  /**
   * {@return the block with a name}
   *
   * @throws IllegalArgumentException if there is none
   */
  public RamBlock block(String name) {
    return blocks.stream()
        .filter(block -> block.name().equals(name))
        .findFirst()
        .orElseThrow(
            () -> new IllegalArgumentException("no RAM block '" + name + "' in " + layout));
  }

  /** {@return the blocks' names and shapes} */
  public RamLayout layout() {
    return layout;
  }

  /** {@return the sum of the blocks' sizes in bytes} */
  public long sizeBytes() {
    return layout.totalBytes();
  }

  /** {@return whether the memory is still mapped} */
  public boolean isOpen() {
    return arena.scope().isAlive();
  }

  /** Unmaps all blocks. Nothing happens if that has been done. */
  @Override
  public void close() {
    if (arena.scope().isAlive()) {
      arena.close();
    }
  }

  /**
   * Gives the machine back what the memory occupies: its contents are lost, and it reads as zeros.
   * Blocks whose bytes live in a named file stay as they are, for that file is somebody's.
   *
   * @return the size of the blocks that were given back, in bytes
   * @throws io.pageflux.internal.ErrnoException if the kernel refuses; some may be given back then
   * @throws IllegalStateException if the memory is closed
   */
  public long releasePages() {
    long bytes = 0;
    for (RamBlock block : blocks) {
      MemorySegment segment = block.segment();
      if (!arena.scope().isAlive()) {
        throw new IllegalStateException("the memory is closed");
      }
      switch (block.backing()) {
        case ANONYMOUS -> Linux.releasePrivate(segment);
        case MEMFD -> Linux.releaseShared(segment);
        case FILE -> {
          continue;
        }
      }
      bytes += block.sizeBytes();
    }
    return bytes;
  }

  @Override
  public String toString() {
    return "GuestMemory" + layout;
  }

  /** Collects blocks and maps them. Not for use by several threads. */
  public static final class Builder {

    @FunctionalInterface
    private interface Mapper {
      MemorySegment map(Arena arena, RamBlock.@Nullable SharedFile shared) throws IOException;
    }

    private record Planned(
        RamBlockLayout layout,
        RamBlock.Backing backing,
        boolean fresh,
        boolean shared,
        Mapper mapper) {}

    private final List<Planned> planned = new ArrayList<>();
    private int pageSizeBytes = RamBlockLayout.DEFAULT_PAGE_SIZE_BYTES;

    private Builder() {}

    /** Sets the page size in bytes of the blocks that are added from here on; 4,096 at first. */
    public Builder pageSize(int bytes) {
      this.pageSizeBytes = bytes;
      return this;
    }

    /** Adds a block of private anonymous memory, all zeros. */
    public Builder anonymous(String name, long sizeBytes) {
      return add(
          name,
          sizeBytes,
          RamBlock.Backing.ANONYMOUS,
          true,
          (arena, unshared) -> Linux.mapAnonymous(sizeBytes, arena));
    }

    /** Adds a block in an anonymous memory file, all zeros. */
    public Builder memfd(String name, long sizeBytes) {
      return add(
          name,
          sizeBytes,
          RamBlock.Backing.MEMFD,
          true,
          (arena, unshared) -> {
            int fd = Linux.memfd("pageflux-" + name, sizeBytes);
            try {
              return Linux.mapShared(fd, sizeBytes, arena);
            } finally {
              Linux.close(fd);
            }
          });
    }

    /**
     * Adds a block in an anonymous memory file, all zeros, that other processes of the same user on
     * this machine can map, if they are told of its {@link RamBlock#sharedFile()}. The file's size
     * is sealed. A descriptor stays open until the memory is closed.
     */
    public Builder shared(String name, long sizeBytes) {
      planned.add(
          new Planned(
              new RamBlockLayout(name, sizeBytes, pageSizeBytes),
              RamBlock.Backing.MEMFD,
              true,
              true,
              (arena, shared) ->
                  Linux.mapShared(Objects.requireNonNull(shared).descriptor(), sizeBytes, arena)));
      return this;
    }

    private static RamBlock.SharedFile shareable(long sizeBytes, Arena arena) {
      UUID token = UUID.randomUUID();
      int fd = Linux.sealedMemfd(new RamBlock.SharedFile(0, token).fileName(), sizeBytes);
      Linux.closeWith(arena, fd);
      return new RamBlock.SharedFile(fd, token);
    }

    /**
     * Adds the whole of an existing file, which other processes may be writing: a guest's RAM file.
     *
     * @throws IOException if it is missing or no regular file
     * @throws IllegalArgumentException if its size is not a positive multiple of the page size
     */
    public Builder file(String name, Path path) throws IOException {
      requireRegularFile(path);
      long size = Files.size(path);
      return add(
          name,
          size,
          RamBlock.Backing.FILE,
          false,
          (arena, unshared) -> mapFile(path, size, arena));
    }

    /**
     * Adds a file of a size: an existing one must have exactly this size; a missing one is made and
     * is all zeros.
     *
     * @throws IOException if it cannot be made, is no regular file, or has another size
     */
    public Builder file(String name, Path path, long sizeBytes) throws IOException {
      RamBlockLayout shape = new RamBlockLayout(name, sizeBytes, pageSizeBytes);
      boolean fresh = Files.notExists(path);
      if (!fresh) {
        requireRegularFile(path);
        if (Files.size(path) != sizeBytes) {
          throw new IOException(
              "%s has %d bytes, but %d are wanted: give its size, or another file"
                  .formatted(path, Files.size(path), shape.sizeBytes()));
        }
      }
      return add(
          name,
          sizeBytes,
          RamBlock.Backing.FILE,
          fresh,
          (arena, unshared) -> {
            if (fresh) {
              createSparse(path, sizeBytes);
            }
            return mapFile(path, sizeBytes, arena);
          });
    }

    private static void requireRegularFile(Path path) throws IOException {
      if (Files.notExists(path)) {
        throw new IOException(path + " does not exist");
      }
      if (!Files.isRegularFile(path)) {
        throw new IOException(
            path + " is not a regular file: memory can only be mapped from a regular file");
      }
    }

    private static void createSparse(Path path, long sizeBytes) throws IOException {
      try (FileChannel file =
          FileChannel.open(path, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        file.write(java.nio.ByteBuffer.allocate(1), sizeBytes - 1);
      }
    }

    private static MemorySegment mapFile(Path path, long sizeBytes, Arena arena)
        throws IOException {
      try (FileChannel file =
          FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        return file.map(FileChannel.MapMode.READ_WRITE, 0, sizeBytes, arena);
      }
    }

    private Builder add(
        String name, long sizeBytes, RamBlock.Backing backing, boolean fresh, Mapper mapper) {
      Objects.requireNonNull(name, "name");
      planned.add(
          new Planned(
              new RamBlockLayout(name, sizeBytes, pageSizeBytes), backing, fresh, false, mapper));
      return this;
    }

    /**
     * Maps the blocks. If one cannot be mapped, none stays mapped.
     *
     * @throws IllegalArgumentException if there is no block, or two have the same name
     * @throws UncheckedIOException if a file cannot be made or mapped
     */
    public GuestMemory build() {
      new RamLayout(planned.stream().map(Planned::layout).toList());
      Arena arena = Arena.ofShared();
      try {
        List<RamBlock> blocks = new ArrayList<>();
        for (Planned plan : planned) {
          RamBlock.SharedFile shared =
              plan.shared() ? shareable(plan.layout().sizeBytes(), arena) : null;
          blocks.add(
              new RamBlock(
                  blocks.size(),
                  plan.layout(),
                  plan.backing(),
                  plan.fresh(),
                  plan.mapper().map(arena, shared),
                  shared));
        }
        return new GuestMemory(arena, blocks);
      } catch (IOException e) {
        arena.close();
        throw new UncheckedIOException(e);
      } catch (RuntimeException | Error e) {
        arena.close();
        throw e;
      }
    }
  }
}
