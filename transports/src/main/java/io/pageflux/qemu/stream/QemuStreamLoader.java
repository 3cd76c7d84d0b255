package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.DeltaDecoder;
import io.pageflux.codec.PageLoader;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Puts the RAM of a stream into a guest's memory, if it is the RAM that is expected there.
 *
 * <p>The stream's blocks are found in the memory by their names, and have to have its sizes; their
 * order is of no importance. Blocks that are empty, and blocks of the memory that the stream does
 * not list, are left as they are: QEMU loads such streams too.
 *
 * <p><b>Ordering and threading:</b> elements in the order of the stream, by one thread at a time;
 * counts for any thread. The elements stay the caller's, who releases them.
 *
 * <p><b>Memory bound:</b> one bit of heap for each page of the memory, and 8 KiB.
 *
 * <p><b>Errors:</b> a {@link MigrationException} that says at which byte of the stream: of kind
 * {@code LAYOUT} if the stream is of another machine or of other RAM, {@code PROTOCOL} if its RAM
 * is not all in it ({@code x-ignore-shared}), {@code INTEGRITY} if an XBZRLE page is damaged. What
 * was loaded before stays.
 */
public final class QemuStreamLoader {

  private final GuestMemory memory;
  private final @Nullable String expectedMachine;
  private final DeltaDecoder decoder = new DeltaDecoder();
  private volatile @Nullable PageLoader loader;
  private List<RamBlock> blocks = List.of();
  private @Nullable String machineType;

  /**
   * Makes a loader of the stream of whatever machine.
   *
   * @param memory nobody else may write to it meanwhile
   */
  public QemuStreamLoader(GuestMemory memory) {
    this(memory, null);
  }

  /**
   * Makes a loader of the stream of one machine.
   *
   * @param memory nobody else may write to it meanwhile
   * @param machineType what the stream has to be of, such as {@code pc-i440fx-7.2}; null for
   *     whatever machine
   */
  public QemuStreamLoader(GuestMemory memory, @Nullable String machineType) {
    this.memory = memory;
    this.expectedMachine = machineType;
  }

  /**
   * Takes the next element: checks what tells of the machine and its RAM, loads pages, and does
   * nothing with others.
   *
   * @throws MigrationException if it is not what is expected
   * @throws IllegalStateException if the memory is closed
   */
  public void take(QemuElement element) {
    switch (element) {
      case QemuElement.Configuration configuration -> check(configuration);
      case QemuElement.RamBlocks listed -> begin(listed);
      case QemuElement.Pages pages -> load(pages);
      default -> {}
    }
  }

  private void check(QemuElement.Configuration configuration) {
    machineType = configuration.machineType();
    if (expectedMachine != null && !expectedMachine.equals(machineType)) {
      throw refused(
          Kind.LAYOUT,
          configuration.offset(),
          "it is of the machine '%s', and '%s' is expected"
              .formatted(machineType, expectedMachine));
    }
    if (configuration.capabilities().contains(QemuFormat.IGNORE_SHARED)) {
      throw refused(
          Kind.PROTOCOL,
          configuration.offset(),
          "QEMU migrates with the capability x-ignore-shared: switch it off, for the RAM that it"
              + " leaves out would be missing");
    }
  }

  private void begin(QemuElement.RamBlocks listed) {
    if (expectedMachine != null && machineType == null) {
      throw refused(
          Kind.LAYOUT,
          listed.offset(),
          "it does not say of which machine it is, and '%s' is expected"
              .formatted(expectedMachine));
    }
    List<RamBlock> found = new ArrayList<>();
    long at = listed.offset() + Long.BYTES; // behind the sum of the lengths
    for (QemuRamLayout.Block block : listed.layout().blocks()) {
      if (block.usedLengthBytes() > 0) {
        found.add(find(block, at, listed.pageSizeBytes()));
      }
      at += listedBytes(block);
    }
    blocks = List.copyOf(found);
    loader = new PageLoader(blocks);
  }

  private static long listedBytes(QemuRamLayout.Block block) {
    return 1
        + block.name().getBytes(StandardCharsets.UTF_8).length
        + Long.BYTES
        + (block.pageSizeBytes().isPresent() ? Long.BYTES : 0)
        + (block.guestPhysicalAddress().isPresent() ? Long.BYTES : 0);
  }

  private RamBlock find(QemuRamLayout.Block listed, long at, int pageSizeBytes) {
    for (RamBlock block : memory.blocks()) {
      if (block.name().equals(listed.name())) {
        if (block.sizeBytes() != listed.usedLengthBytes()) {
          throw refused(
              Kind.LAYOUT,
              at,
              "RAM block '%s' has %d bytes, and %d in the memory"
                  .formatted(listed.name(), listed.usedLengthBytes(), block.sizeBytes()));
        }
        if (block.pageSizeBytes() != pageSizeBytes) {
          throw refused(
              Kind.LAYOUT,
              at,
              "RAM block '%s' has pages of %d bytes, and of %d in the memory"
                  .formatted(listed.name(), pageSizeBytes, block.pageSizeBytes()));
        }
        return block;
      }
    }
    throw refused(
        Kind.LAYOUT,
        at,
        "RAM block '%s' of %d bytes is not in the memory, which has %s"
            .formatted(listed.name(), listed.usedLengthBytes(), shown()));
  }

  private String shown() {
    List<String> names =
        memory.blocks().stream().limit(16).map(block -> "'" + block.name() + "'").toList();
    int more = memory.blocks().size() - names.size();
    return String.join(", ", names) + (more > 0 ? " and %d more".formatted(more) : "");
  }

  private void load(QemuElement.Pages pages) {
    PageLoader to = loader;
    if (to == null) {
      throw new IllegalStateException("pages before the list of RAM blocks");
    }
    PageBatch batch = pages.batch();
    try {
      decoder.expand(batch, blocks);
      to.load(batch);
    } catch (MigrationException e) {
      throw refused(e.kind(), pages.offset(), "the pages that begin here: " + e.getMessage());
    }
  }

  private static MigrationException refused(Kind kind, long at, String what) {
    return MigrationException.of(kind, "byte %d of the QEMU stream: %s".formatted(at, what));
  }

  /** {@return what the stream is of, as far as it has said it} */
  public @Nullable String machineType() {
    return machineType;
  }

  /** {@return how many zero pages were loaded so far} */
  public long zeroPages() {
    PageLoader to = loader;
    return to == null ? 0 : to.zeroPages();
  }

  /** {@return how many pages were loaded so far that came whole} */
  public long wholePages() {
    PageLoader to = loader;
    return to == null ? 0 : to.rawPages() - decoder.deltaPages();
  }

  /** {@return how many pages were loaded so far that came as XBZRLE} */
  public long deltaPages() {
    return decoder.deltaPages();
  }
}
