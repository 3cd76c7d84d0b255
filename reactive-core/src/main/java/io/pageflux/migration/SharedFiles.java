package io.pageflux.migration;

import io.pageflux.internal.ErrnoException;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.wire.WireRecord;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.jspecify.annotations.Nullable;

/**
 * Memory files of another process: how they are offered, and how what was offered is opened.
 *
 * <p>An offer is not trusted. It names no path, only a process and a descriptor, and what is found
 * there is looked at before it is opened, and once more before it is mapped:
 *
 * <ul>
 *   <li>A handle is taken that opens nothing ({@code O_PATH}), so that neither a device nor a pipe
 *       comes to know of it, and everything from here on goes by the handle, behind which nobody
 *       can put another file.
 *   <li>The file must be a memory file whose name has the token that was offered: a process of the
 *       same number on another machine, or in another container, has none of that name.
 *   <li>It must belong to this process's user, also if this process might open those of others.
 *   <li>It must have the block's size, and be sealed so that it cannot be cut short: who touches a
 *       mapping of a file that was, is killed by {@code SIGBUS}, at any later time.
 * </ul>
 */
final class SharedFiles {

  /** What was offered is not used. */
  static final class RefusedException extends Exception {
    private static final long serialVersionUID = 1;

    RefusedException(String reason) {
      super(reason);
    }
  }

  private static final Path MACHINE = Path.of("/proc/sys/kernel/random/boot_id");

  private SharedFiles() {}

  /** What of a memory other processes can map. {@return an offer of it; null if there is none} */
  static WireRecord.@Nullable Offer offer(GuestMemory memory) {
    List<WireRecord.Offer.Block> blocks = new ArrayList<>();
    for (RamBlock block : memory.blocks()) {
      RamBlock.SharedFile file = block.sharedFile();
      if (file != null) {
        blocks.add(new WireRecord.Offer.Block(block.index(), file.descriptor(), file.token()));
      }
    }
    UUID machine = machine();
    long process = ProcessHandle.current().pid();
    return blocks.isEmpty() || machine == null || process > Integer.MAX_VALUE
        ? null
        : new WireRecord.Offer(machine, (int) process, blocks);
  }

  private static @Nullable UUID machine() {
    try {
      return UUID.fromString(Files.readString(MACHINE).strip());
    } catch (IOException | IllegalArgumentException e) {
      return null;
    }
  }

  /** {@return why a machine is not this one; null if it is} */
  static @Nullable String elsewhere(UUID offered) {
    return offered.equals(machine()) ? null : "the destination is on another machine";
  }

  /** Maps what was offered, for as long as the arena lives. */
  static MemorySegment map(int process, WireRecord.Offer.Block offered, long sizeBytes, Arena arena)
      throws RefusedException {
    String path = "/proc/%d/fd/%d".formatted(process, offered.descriptor());
    try {
      int handle = Linux.open(path, Linux.O_PATH | Linux.O_CLOEXEC);
      try {
        Path self = Path.of("/proc/self/fd/" + handle);
        String name = Files.readSymbolicLink(self).toString();
        String expected =
            "/memfd:%s (deleted)"
                .formatted(
                    new RamBlock.SharedFile(offered.descriptor(), offered.token()).fileName());
        if (!name.equals(expected)) {
          throw new RefusedException(
              "descriptor %s is not the file that it is to be".formatted(path));
        }
        int fd = Linux.open(self.toString(), Linux.O_RDWR | Linux.O_CLOEXEC);
        try {
          requireSafe(fd, sizeBytes);
          return Linux.mapShared(fd, sizeBytes, arena);
        } finally {
          Linux.close(fd);
        }
      } finally {
        Linux.close(handle);
      }
    } catch (ErrnoException e) {
      throw new RefusedException("it cannot be opened: " + e.getMessage());
    } catch (IOException e) {
      throw new RefusedException("it cannot be looked at: " + e);
    }
  }

  private static void requireSafe(int fd, long sizeBytes) throws RefusedException, IOException {
    if ((Linux.seals(fd) & Linux.F_SEAL_SHRINK) == 0) {
      throw new RefusedException("the file is not sealed, and so could be cut short");
    }
    // After the seal, for from then on it does not become smaller.
    Map<String, Object> file =
        Files.readAttributes(Path.of("/proc/self/fd/" + fd), "unix:uid,size");
    Object user = Files.getAttribute(Path.of("/proc/self"), "unix:uid");
    if (!user.equals(file.get("uid"))) {
      throw new RefusedException("the file belongs to another user");
    }
    if (!(file.get("size") instanceof Long size) || size != sizeBytes) {
      throw new RefusedException(
          "the file has %s bytes, but the block has %d".formatted(file.get("size"), sizeBytes));
    }
  }
}
