package io.pageflux.qemu.postcopy;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.qemu.stream.PostcopyPayload;
import io.pageflux.qemu.stream.QemuRamLayout;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.Set;

/**
 * How large the destination's pages are, block by block: it can only place whole ones.
 *
 * <p>A block's is the guest's page size where nothing else is said.
 */
final class HostPages {

  private final int[] byBlock;
  private final QemuRamLayout listed;
  private final PostcopyPayload.Advice advice;

  /**
   * Checks what was said.
   *
   * @throws IllegalArgumentException if there is no such block, or its pages do not fit it
   */
  HostPages(QemuRamLayout ram, RamLayout layout, Map<String, Integer> said) {
    Set<String> unknown = new HashSet<>(said.keySet());
    byBlock = new int[layout.blocks().size()];
    int targetPage = layout.blocks().getFirst().pageSizeBytes();
    long sizes = targetPage == 0 ? 0 : usual(ram, said, targetPage);
    for (int i = 0; i < byBlock.length; i++) {
      RamBlockLayout block = layout.blocks().get(i);
      int bytes = said.getOrDefault(block.name(), targetPage);
      if (bytes < targetPage || block.sizeBytes() % bytes != 0) {
        throw new IllegalArgumentException(
            "RAM block '%s' of %d bytes, in pages of %d, cannot have host pages of %d bytes"
                .formatted(block.name(), block.sizeBytes(), targetPage, bytes));
      }
      byBlock[i] = bytes;
      sizes |= bytes;
      unknown.remove(block.name());
    }
    if (!unknown.isEmpty()) {
      throw new IllegalArgumentException(
          "the captured guest has no RAM block " + unknown + ", but " + layout);
    }
    advice = new PostcopyPayload.Advice(sizes, targetPage);
    listed = new QemuRamLayout(list(ram, said, targetPage));
  }

  /** Blocks without pages count, too, and have those of the machine. */
  private static long usual(QemuRamLayout ram, Map<String, Integer> said, int targetPage) {
    return ram.blocks().stream().anyMatch(block -> !said.containsKey(block.name()))
        ? targetPage
        : 0;
  }

  private static List<QemuRamLayout.Block> list(
      QemuRamLayout ram, Map<String, Integer> said, int targetPage) {
    return ram.blocks().stream()
        .map(
            block -> {
              int bytes = said.getOrDefault(block.name(), targetPage);
              return new QemuRamLayout.Block(
                  block.name(),
                  block.usedLengthBytes(),
                  bytes == targetPage ? OptionalLong.empty() : OptionalLong.of(bytes),
                  OptionalLong.empty());
            })
        .toList();
  }

  /** {@return each block's host page, in bytes} */
  int[] byBlock() {
    return byBlock.clone();
  }

  /** {@return the list of RAM blocks as the destination expects it in post-copy} */
  QemuRamLayout listed() {
    return listed;
  }

  /** {@return what the destination is told first} */
  PostcopyPayload.Advice advice() {
    return advice;
  }
}
