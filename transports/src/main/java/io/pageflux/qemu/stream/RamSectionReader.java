package io.pageflux.qemu.stream;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageKind;
import io.pageflux.wire.WireLimits;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads what RAM sections hold: the list of blocks, and records of pages, which go into batches.
 *
 * <p>"The current block", which a record with CONTINUE leaves out, outlives sections.
 */
final class RamSectionReader implements AutoCloseable {

  private enum State {
    RECORD,
    BLOCKS,
    BLOCK_NAME,
    PAGE_HEADER,
    PAGE_CONTENTS
  }

  private final StreamInput input;
  private final int pageSizeBytes;
  private final PageGatherer gatherer;
  private final Map<String, Integer> indices = new HashMap<>();
  private State state = State.RECORD;
  private boolean withAddresses;
  private @Nullable RamLayout layout;
  private int currentBlock = -1;

  // The record that is being read.
  private int flags;
  private long page;
  private int payloadAt;
  private PageKind kind = PageKind.RAW;
  private int contentBytes;

  RamSectionReader(StreamInput input, BatchGeometry geometry, int pageSizeBytes) {
    this.input = input;
    this.pageSizeBytes = pageSizeBytes;
    this.gatherer = new PageGatherer(input, geometry, pageSizeBytes);
  }

  int pageSizeBytes() {
    return pageSizeBytes;
  }

  /** Says whether each block is listed with its address in the guest. */
  void withAddresses(boolean with) {
    withAddresses = with;
  }

  boolean needsSlab() {
    return gatherer.needsSlab();
  }

  void supply(Lease lease) {
    gatherer.supply(lease);
  }

  /** The pages that are complete, if none is being read. */
  @Nullable QemuElement flush() {
    return state == State.PAGE_CONTENTS ? null : gatherer.take();
  }

  /** The next element, or null if the input is starved or another step is to be taken. */
  @Nullable QemuElement read(ByteBuffer in) {
    return switch (state) {
      case RECORD -> record(in);
      case BLOCKS -> blocks(in);
      case BLOCK_NAME -> blockName(in);
      case PAGE_HEADER -> pageHeader(in);
      case PAGE_CONTENTS -> pageContents(in);
    };
  }

  private @Nullable QemuElement record(ByteBuffer in) {
    if (!input.have(8, in)) {
      return null;
    }
    long word = input.i64(0);
    // A page has 1 KiB at the least, and so room for ten flags.
    flags = (int) (word & 0x3FF);
    long address = word & -0x400;
    switch (flags & ~RamFlags.CONTINUE) {
      case RamFlags.ZERO, RamFlags.PAGE, RamFlags.XBZRLE, RamFlags.COMPRESS_PAGE -> {
        page = address; // in bytes, until the block is known
        payloadAt = 8;
        state = State.BLOCK_NAME;
        return null;
      }
      default -> {}
    }
    // Any other element comes behind the pages that were read before it.
    QemuElement pages = gatherer.take();
    if (pages != null) {
      return pages; // this comes again
    }
    long at = input.start();
    switch (flags) {
      case RamFlags.MEM_SIZE -> {
        if (layout != null) {
          throw input.error("the RAM blocks are listed twice");
        }
        state = State.BLOCKS;
        return null;
      }
      case RamFlags.EOS -> {
        if (address != 0) {
          throw input.error("the end of the section has an address");
        }
        return new QemuElement.EndOfRamData(input.take(), at);
      }
      case RamFlags.MULTIFD_FLUSH -> {
        return new QemuElement.MultifdFlush(input.take(), at);
      }
      case RamFlags.HOOK ->
          throw input.error("a record of RDMA, which is not supported: migrate over TCP");
      default ->
          throw input.error(
              "a record with the flags %s, which is none that is known"
                  .formatted(RamFlags.names(flags)));
    }
  }

  private @Nullable QemuElement blocks(ByteBuffer in) {
    long total = input.i64(0) & ~0x3FFL;
    List<QemuRamLayout.Block> blocks = new ArrayList<>();
    int at = 8;
    long left = total;
    if (total <= 0) {
      throw input.error("the RAM blocks have %d bytes together".formatted(total));
    }
    while (left > 0) {
      if (blocks.size() == WireLimits.MAX_BLOCKS) {
        throw input.error("more than %d RAM blocks".formatted(WireLimits.MAX_BLOCKS));
      }
      if (!input.have(at + 1, in)) {
        return null;
      }
      int nameBytes = input.u8(at);
      int end = at + 1 + nameBytes + 8 + (withAddresses ? 8 : 0);
      if (!input.have(end, in)) {
        return null;
      }
      String name = input.text(at + 1, nameBytes);
      long bytes = input.i64(at + 1 + nameBytes);
      if (bytes <= 0 || bytes > left) {
        throw input.error(
            "RAM block %s has %d bytes where %d of all are left"
                .formatted(StreamInput.printable(name), bytes, left));
      }
      long address = withAddresses ? input.i64(end - 8) : QemuRamLayout.NO_ADDRESS;
      blocks.add(new QemuRamLayout.Block(name, bytes, address));
      left -= bytes;
      at = end;
    }
    return listed(new QemuRamLayout(blocks));
  }

  private QemuElement listed(QemuRamLayout blocks) {
    RamLayout pages;
    try {
      pages = blocks.toRamLayout(pageSizeBytes);
    } catch (IllegalArgumentException e) {
      throw input.error("the RAM blocks cannot be so: " + e.getMessage());
    }
    layout = pages;
    for (int i = 0; i < pages.blocks().size(); i++) {
      indices.put(pages.blocks().get(i).name(), i);
    }
    state = State.RECORD;
    long at = input.start();
    return new QemuElement.RamBlocks(blocks, input.take(), at);
  }

  private @Nullable QemuElement blockName(ByteBuffer in) {
    RamLayout known = layout;
    if (known == null) {
      throw input.error("a page comes before the list of RAM blocks");
    }
    if ((flags & RamFlags.CONTINUE) == 0) {
      if (!input.have(9, in) || !input.have(9 + input.u8(8), in)) {
        return null;
      }
      String name = input.text(9, input.u8(8));
      Integer index = indices.get(name);
      if (index == null) {
        throw input.error(
            "a page is of RAM block %s, which was not listed"
                .formatted(StreamInput.printable(name)));
      }
      currentBlock = index;
      payloadAt = 9 + input.u8(8);
    } else if (currentBlock < 0) {
      throw input.error("a page is of the same block as the one before, but it is the first one");
    }
    RamBlockLayout block = known.blocks().get(currentBlock);
    long offset = page;
    if (offset < 0 || offset >= block.sizeBytes() || offset % pageSizeBytes != 0) {
      throw input.error(
          "a page is at offset 0x%x of RAM block %s, which has 0x%x bytes in pages of %d"
              .formatted(
                  offset, StreamInput.printable(block.name()), block.sizeBytes(), pageSizeBytes));
    }
    page = offset / pageSizeBytes;
    state = State.PAGE_HEADER;
    return null;
  }

  /** What a record says before its contents. */
  private @Nullable QemuElement pageHeader(ByteBuffer in) {
    switch (flags & ~RamFlags.CONTINUE) {
      case RamFlags.ZERO -> {
        if (!input.have(payloadAt + 1, in)) {
          return null;
        }
        contents(input.u8(payloadAt) == 0 ? PageKind.ZERO : PageKind.RAW, 0);
      }
      case RamFlags.PAGE -> contents(PageKind.RAW, pageSizeBytes);
      case RamFlags.XBZRLE -> {
        if (!input.have(payloadAt + 3, in)) {
          return null;
        }
        if (input.u8(payloadAt) != RamFlags.ENCODING_XBZRLE) {
          throw input.error(
              "a delta has the encoding 0x%02x, but only XBZRLE, 0x01, is known"
                  .formatted(input.u8(payloadAt)));
        }
        int length = input.u16(payloadAt + 1);
        if (length > pageSizeBytes) {
          throw input.error(
              "a delta has %d bytes, more than a page of %d".formatted(length, pageSizeBytes));
        }
        if (length == 0) { // nothing has changed
          recordDone();
          return null;
        }
        contents(PageKind.DELTA, length);
      }
      default -> { // COMPRESS_PAGE
        if (!input.have(payloadAt + 4, in)) {
          return null;
        }
        long length = input.u32(payloadAt);
        int most = PageInflater.mostBytes(pageSizeBytes);
        if (length == 0 || length > most) {
          throw input.error(
              "a compressed page has %d bytes, where 1 to %d may be".formatted(length, most));
        }
        contents(PageKind.RAW, (int) length);
      }
    }
    return null;
  }

  private void contents(PageKind kindOfPage, int bytes) {
    kind = kindOfPage;
    contentBytes = bytes;
    state = State.PAGE_CONTENTS;
  }

  private @Nullable QemuElement pageContents(ByteBuffer in) {
    RamLayout known = java.util.Objects.requireNonNull(layout);
    if (!gatherer.isFilling()) {
      QemuElement full = gatherer.open(currentBlock, known.blocks().get(currentBlock), page);
      if (full != null || gatherer.needsSlab()) {
        return full;
      }
    }
    switch (flags & ~RamFlags.CONTINUE) {
      case RamFlags.ZERO -> gatherer.fill(kind, input.u8(payloadAt));
      case RamFlags.COMPRESS_PAGE -> {
        if (!gatherer.inflate(contentBytes, in)) {
          return null;
        }
      }
      default -> {
        if (!gatherer.copy(kind, contentBytes, in)) {
          return null;
        }
      }
    }
    recordDone();
    return null;
  }

  private void recordDone() {
    input.drop();
    state = State.RECORD;
  }

  @Override
  public void close() {
    gatherer.close();
  }
}
