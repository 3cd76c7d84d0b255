package io.pageflux.qemu.multifd;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * The part of a packet before its payload, checked as a whole before anything is done about it.
 *
 * <p>A packet without pages, such as one that is only a SYNC, may carry the payload length and the
 * block of the packet before it: QEMU does not clear them. So neither is looked at then.
 */
final class MultifdPacketHeader {

  /** Says what is wrong, and at which byte of the header. */
  static final class Fault extends Exception {
    private static final long serialVersionUID = 1L;
    private final int at;

    Fault(int at, String what) {
      super(what);
      this.at = at;
    }

    int at() {
      return at;
    }

    String what() {
      return String.valueOf(getMessage());
    }
  }

  private final int pageSizeBytes;
  private final int maxPages;
  private final int method;
  private final ByteBuffer bytes;
  private final byte[] name = new byte[MultifdFormat.BLOCK_BYTES];

  private int flags;
  private int normalPages;
  private int zeroPages;
  private int payloadBytes;
  private int blockIndex;

  MultifdPacketHeader(int pageSizeBytes, MultifdCompression compression) {
    this.pageSizeBytes = pageSizeBytes;
    this.maxPages = MultifdFormat.maxPages(pageSizeBytes);
    this.method = compression.flag();
    this.bytes = ByteBuffer.allocate(MultifdFormat.headerBytes(pageSizeBytes));
  }

  /** Where the bytes of the header go. */
  ByteBuffer bytes() {
    return bytes;
  }

  boolean isSync() {
    return (flags & MultifdFormat.FLAG_SYNC) != 0;
  }

  int normalPages() {
    return normalPages;
  }

  /** Raw and zero pages. */
  int pages() {
    return normalPages + zeroPages;
  }

  int payloadBytes() {
    return payloadBytes;
  }

  long packetNumber() {
    return bytes.getLong(MultifdFormat.NUMBER_AT);
  }

  int blockIndex() {
    return blockIndex;
  }

  /** The index in its block of the i-th page: first the raw ones, then the zero ones. */
  long page(int i) {
    return bytes.getLong(offsetAt(i)) / pageSizeBytes;
  }

  private static int offsetAt(int i) {
    return MultifdFormat.OFFSETS_AT + i * Long.BYTES;
  }

  /** Checks the bytes, which are complete. */
  void parse(RamLayout layout) throws Fault {
    int magic = bytes.getInt(0);
    if (magic != MultifdFormat.MAGIC) {
      throw new Fault(
          0,
          "a packet begins with 0x%08x, but this one with 0x%08x"
              .formatted(MultifdFormat.MAGIC, magic));
    }
    if (bytes.getInt(4) != MultifdFormat.VERSION) {
      throw new Fault(4, "a packet of version " + unsigned(4));
    }
    parseCounts();
    parseFlags();
    payloadBytes = 0;
    if (pages() > 0) {
      parseBlock(layout);
    }
    if (normalPages > 0) {
      parsePayload();
    }
  }

  private void parseCounts() throws Fault {
    long allocated = unsigned(MultifdFormat.ALLOCATED_AT);
    if (allocated > maxPages) {
      throw new Fault(
          MultifdFormat.ALLOCATED_AT,
          "room for %d pages, but a packet has at most %d".formatted(allocated, maxPages));
    }
    long normal = unsigned(MultifdFormat.NORMAL_AT);
    if (normal > allocated) {
      throw new Fault(
          MultifdFormat.NORMAL_AT,
          "%d pages in a packet with room for %d".formatted(normal, allocated));
    }
    long zero = unsigned(MultifdFormat.ZERO_AT);
    if (zero > allocated - normal) {
      throw new Fault(
          MultifdFormat.ZERO_AT,
          "%d zero pages beside %d others in a packet with room for %d"
              .formatted(zero, normal, allocated));
    }
    normalPages = (int) normal;
    zeroPages = (int) zero;
  }

  private void parseFlags() throws Fault {
    flags = bytes.getInt(MultifdFormat.FLAGS_AT);
    if ((flags & MultifdFormat.FLAG_DEVICE_STATE) != 0) {
      throw new Fault(
          MultifdFormat.FLAGS_AT,
          "a packet of device state, which is not supported: leave x-multifd-vfio off");
    }
    if ((flags & ~(MultifdFormat.FLAG_SYNC | MultifdFormat.METHOD_MASK)) != 0) {
      throw new Fault(MultifdFormat.FLAGS_AT, "flags 0x%08x are not known".formatted(flags));
    }
    int flag = flags & MultifdFormat.METHOD_MASK;
    // A packet without a payload has the flag, or has it not, depending on the version.
    if (flag != method && (normalPages > 0 || flag != 0)) {
      throw new Fault(
          MultifdFormat.FLAGS_AT,
          "the peer compresses with %s, but %s was agreed upon: set multifd-compression alike"
              .formatted(MultifdCompression.nameOf(flag), MultifdCompression.nameOf(method)));
    }
  }

  private void parseBlock(RamLayout layout) throws Fault {
    bytes.get(MultifdFormat.BLOCK_AT, name);
    int length = 0;
    while (length < name.length && name[length] != 0) {
      length++;
    }
    if (length == name.length) {
      throw new Fault(MultifdFormat.BLOCK_AT, "the block's name has no end");
    }
    String block = new String(name, 0, length, StandardCharsets.UTF_8);
    List<RamBlockLayout> blocks = layout.blocks();
    blockIndex = 0;
    while (blockIndex < blocks.size() && !blocks.get(blockIndex).name().equals(block)) {
      blockIndex++;
    }
    if (blockIndex == blocks.size()) {
      throw new Fault(
          MultifdFormat.BLOCK_AT,
          "pages of block '%s', which the main channel did not list".formatted(printable(block)));
    }
    parseOffsets(blocks.get(blockIndex));
  }

  private void parseOffsets(RamBlockLayout block) throws Fault {
    for (int i = 0; i < pages(); i++) {
      long offset = bytes.getLong(offsetAt(i));
      if (offset < 0 || offset >= block.sizeBytes()) {
        throw new Fault(
            offsetAt(i),
            "a page at offset 0x%x of block '%s' of %d bytes"
                .formatted(offset, block.name(), block.sizeBytes()));
      }
      if (offset % pageSizeBytes != 0) {
        throw new Fault(
            offsetAt(i),
            "a page at offset 0x%x, which is no multiple of %d".formatted(offset, pageSizeBytes));
      }
    }
  }

  private void parsePayload() throws Fault {
    long payload = unsigned(MultifdFormat.PAYLOAD_AT);
    int memory = normalPages * pageSizeBytes;
    if (method == 0 && payload != memory) {
      throw new Fault(
          MultifdFormat.PAYLOAD_AT,
          "a payload of %d bytes for %d pages of %d bytes"
              .formatted(payload, normalPages, pageSizeBytes));
    }
    if (payload == 0 || payload > MultifdFormat.MAX_PAYLOAD_BYTES) {
      throw new Fault(
          MultifdFormat.PAYLOAD_AT,
          "a payload of %d bytes, where 1 to %d may be"
              .formatted(payload, MultifdFormat.MAX_PAYLOAD_BYTES));
    }
    payloadBytes = (int) payload;
  }

  private long unsigned(int at) {
    return bytes.getInt(at) & 0xFFFF_FFFFL;
  }

  private static String printable(String text) {
    StringBuilder out = new StringBuilder();
    text.codePoints()
        .limit(64)
        .forEach(c -> out.appendCodePoint(c < ' ' || c >= 0x7f && c < 0xa0 ? '?' : c));
    return out.toString();
  }
}
