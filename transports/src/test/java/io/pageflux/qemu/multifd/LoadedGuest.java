package io.pageflux.qemu.multifd;

import io.pageflux.codec.PageLoader;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.qemu.stream.QemuElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What becomes of a guest that elements are applied to, as they come. */
final class LoadedGuest implements AutoCloseable {

  private @Nullable GuestMemory memory;
  private @Nullable PageLoader loader;
  private int syncPoints;
  private long tailBytes;

  /** Applies an element, and releases it. */
  void accept(QemuElement element) {
    try {
      switch (element) {
        case QemuElement.RamBlocks blocks -> {
          GuestMemory.Builder builder = GuestMemory.builder();
          for (RamBlockLayout block : blocks.layout().toRamLayout(4096).blocks()) {
            builder.anonymous(block.name(), block.sizeBytes());
          }
          memory = builder.build();
          loader = new PageLoader(memory);
        }
        case QemuElement.Pages pages -> Objects.requireNonNull(loader).load(pages.batch());
        case QemuElement.EndOfRamData end -> syncPoints++;
        case QemuElement.DeviceTail tail -> tailBytes += tail.raw().remaining();
        default -> {}
      }
    } finally {
      element.release();
    }
  }

  int syncPoints() {
    return syncPoints;
  }

  long tailBytes() {
    return tailBytes;
  }

  byte[] bytes(String block, long from, long to) {
    MemorySegment segment = Objects.requireNonNull(memory).block(block).segment();
    return segment.asSlice(from, to - from).toArray(ValueLayout.JAVA_BYTE);
  }

  @Override
  public void close() {
    if (memory != null) {
      memory.close();
    }
  }
}
