package io.pageflux.qemu.stream;

import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.transport.TransportBuffer;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;

/**
 * Makes QEMU's migration stream: its framing, piece by piece, and page records of batches.
 *
 * <p>The order of the pieces is the caller's business; {@link QemuStreams#write} has one that
 * works. To send on what a {@link QemuStreamReader} read, write {@link QemuElement#raw()} of every
 * element, and {@link #pages} where batches stand.
 *
 * <p>What a page record leaves out depends on the record before, so all page records of a stream
 * have to come from the same writer.
 *
 * <p><b>Ordering and threading:</b> not for use by two threads at once.
 *
 * <p><b>Memory bound:</b> page records are made in the batch's own slab, so one batch is one
 * buffer, and nothing is allocated; but for compressed pages, and for batches with too little room
 * before their contents (see {@link io.pageflux.page.BatchGeometry#headroomBytes()}), whose records
 * are made in a buffer on the heap.
 */
public final class QemuStreamWriter implements AutoCloseable {

  private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

  private final int sectionId;
  private final @Nullable PageDeflater deflater;
  private @Nullable String currentBlock;
  private byte[] currentName = new byte[0];
  private long bytesOfPages;

  /** Makes a writer that does not compress, and calls the RAM's section 2, as QEMU often does. */
  public QemuStreamWriter() {
    this(2, 0);
  }

  /**
   * Makes a writer.
   *
   * @param sectionId the number of the RAM's section; any will do
   * @param compressionLevel 1 to 9 to make compressed pages of raw ones, 0 for none. The
   *     destination must have the capability {@code compress}, which QEMU 9.1 has no more; and it
   *     loads such pages out of order, so a section must never hold the same page twice
   */
  public QemuStreamWriter(int sectionId, int compressionLevel) {
    if (compressionLevel < 0 || compressionLevel > 9) {
      throw new IllegalArgumentException(
          "a compression level of " + compressionLevel + ", where 0 to 9 may be");
    }
    this.sectionId = sectionId;
    this.deflater = compressionLevel == 0 ? null : new PageDeflater(compressionLevel);
  }

  /** {@return what a stream begins with} */
  public ByteBuffer header() {
    return buffer(8).putInt(QemuFormat.MAGIC).putInt(QemuFormat.VERSION).flip();
  }

  /**
   * {@return the configuration, which comes after the header}
   *
   * @param machineType what the destination's machine has to be, such as {@code pc-i440fx-7.2}
   * @param capabilities those that the destination has to have, {@code x-ignore-shared} or none
   */
  public ByteBuffer configuration(String machineType, List<String> capabilities) {
    byte[] machine = machineType.getBytes(StandardCharsets.UTF_8);
    if (machine.length > QemuFormat.MAX_MACHINE_TYPE_BYTES) {
      throw new IllegalArgumentException("the machine type has " + machine.length + " bytes");
    }
    List<byte[]> names =
        capabilities.stream().map(name -> name.getBytes(StandardCharsets.UTF_8)).toList();
    byte[] subsection = "configuration/capabilities".getBytes(StandardCharsets.UTF_8);
    int size = 5 + machine.length;
    if (!names.isEmpty()) {
      size += 2 + subsection.length + 8 + names.stream().mapToInt(name -> 1 + name.length).sum();
    }
    ByteBuffer out = buffer(size).put((byte) QemuFormat.CONFIGURATION);
    out.putInt(machine.length).put(machine);
    if (!names.isEmpty()) {
      out.put((byte) QemuFormat.SUBSECTION);
      putName(out, subsection).putInt(1).putInt(names.size());
      names.forEach(name -> putName(out, name));
    }
    return out.flip();
  }

  /** {@return a command with its payload} */
  public ByteBuffer command(QemuCommand command, ByteBuffer payload) {
    int length = payload.remaining();
    if (!command.mayCarry(length)) {
      throw new IllegalArgumentException(command + " with " + length + " bytes of payload");
    }
    return buffer(5 + length)
        .put((byte) QemuFormat.COMMAND)
        .putShort((short) command.code())
        .putShort((short) length)
        .put(payload.duplicate())
        .flip();
  }

  /** {@return the beginning of the RAM's first section; the list of blocks is next} */
  public ByteBuffer sectionStart() {
    ByteBuffer out = buffer(17).put((byte) QemuFormat.SECTION_START).putInt(sectionId);
    return putName(out, QemuFormat.RAM.getBytes(StandardCharsets.UTF_8))
        .putInt(0)
        .putInt(QemuFormat.RAM_VERSION)
        .flip();
  }

  /**
   * {@return the list of RAM blocks}
   *
   * @param layout addresses go out with all blocks or with none; page sizes with the blocks that
   *     have one, which is for post-copy, and for blocks whose host page is not the machine's usual
   * @throws IllegalArgumentException if only some blocks have an address
   */
  public ByteBuffer ramBlocks(QemuRamLayout layout) {
    List<byte[]> names =
        layout.blocks().stream().map(b -> b.name().getBytes(StandardCharsets.UTF_8)).toList();
    long withAddress =
        layout.blocks().stream().filter(b -> b.guestPhysicalAddress().isPresent()).count();
    if (withAddress != 0 && withAddress != names.size()) {
      throw new IllegalArgumentException(
          "%d of %d RAM blocks have a guest physical address, where all or none may"
              .formatted(withAddress, names.size()));
    }
    int fields = withAddress == 0 ? 9 : 17;
    long withPageSize = layout.blocks().stream().filter(b -> b.pageSizeBytes().isPresent()).count();
    ByteBuffer out =
        buffer(
            8
                + names.stream().mapToInt(name -> name.length + fields).sum()
                + 8 * (int) withPageSize);
    out.putLong(layout.totalBytes() | QemuFormat.FLAG_MEM_SIZE);
    for (int i = 0; i < names.size(); i++) {
      putName(out, names.get(i)).putLong(layout.blocks().get(i).usedLengthBytes());
      OptionalLong pageSize = layout.blocks().get(i).pageSizeBytes();
      if (pageSize.isPresent()) {
        out.putLong(pageSize.getAsLong());
      }
      OptionalLong address = layout.blocks().get(i).guestPhysicalAddress();
      if (address.isPresent()) {
        out.putLong(address.getAsLong());
      }
    }
    return out.flip();
  }

  /** {@return the beginning of a further section of the RAM} */
  public ByteBuffer sectionPart() {
    return buffer(5).put((byte) QemuFormat.SECTION_PART).putInt(sectionId).flip();
  }

  /** {@return the beginning of the RAM's last section} */
  public ByteBuffer sectionEnd() {
    return buffer(5).put((byte) QemuFormat.SECTION_END).putInt(sectionId).flip();
  }

  /** {@return the end of a section of the RAM: EOS and the footer} */
  public ByteBuffer endOfSection() {
    return buffer(13)
        .putLong(QemuFormat.FLAG_EOS)
        .put((byte) QemuFormat.FOOTER)
        .putInt(sectionId)
        .flip();
  }

  /** {@return the end of a stream: the end marker, and a description of no device} */
  public ByteBuffer endOfStream() {
    return buffer(6)
        .put((byte) QemuFormat.EOF)
        .put((byte) QemuFormat.VM_DESCRIPTION)
        .putInt(0)
        .flip();
  }

  private static ByteBuffer buffer(int size) {
    return ByteBuffer.allocate(size);
  }

  private static ByteBuffer putName(ByteBuffer out, byte[] name) {
    if (name.length > 255) {
      throw new IllegalArgumentException("a name of " + name.length + " bytes: at most 255 may be");
    }
    return out.put((byte) name.length).put(name);
  }

  /**
   * Makes page records of a batch: ZERO, PAGE, XBZRLE of deltas.
   *
   * @param batch its page size is the stream's. It belongs to the buffer from here on, unless this
   *     throws
   * @return one buffer, whose release releases the batch
   * @throws IllegalArgumentException if the batch is empty
   * @throws IllegalStateException if the batch is compressed or has been released
   */
  public TransportBuffer pages(PageBatch batch) {
    return pages(batch, NOTHING);
  }

  /** Makes page records, and puts something before them in the same buffer. */
  TransportBuffer pages(PageBatch batch, ByteBuffer prefix) {
    if (batch.isEmpty()) {
      throw new IllegalArgumentException("a batch without pages is not sent: drop it");
    }
    if (batch.isCompressed()) {
      throw new IllegalStateException("the batch is compressed: decompress it first");
    }
    if (batch.isReleased()) {
      throw new IllegalStateException("the batch was released before it was written: " + batch);
    }
    TransportBuffer out = deflater == null ? plain(batch, prefix) : deflated(batch, prefix);
    bytesOfPages += out.bytes().remaining() - prefix.remaining();
    return out;
  }

  private TransportBuffer plain(PageBatch batch, ByteBuffer prefix) {
    boolean newBlock = enter(batch);
    int before = prefix.remaining();
    for (int i = 0; i < batch.size(); i++) {
      before += headBytes(batch, i, newBlock && i == 0);
    }
    int size = before + batch.payloadBytes();
    boolean inPlace = before <= batch.payloadOffset();
    ByteBuffer out = inPlace ? batch.lease().buffer() : buffer(size);
    MemorySegment to = inPlace ? batch.slab() : MemorySegment.ofBuffer(out);
    // The last page's contents stay where they are, and those before make room for the heads
    // between them. They move down, so going up nothing is overwritten that is still needed.
    int start = inPlace ? batch.payloadOffset() - before : 0;
    int from = batch.payloadOffset();
    out.put(start, prefix, prefix.position(), prefix.remaining());
    int at = start + prefix.remaining();
    for (int i = 0; i < batch.size(); i++) {
      at = putHead(out, at, batch, i, newBlock && i == 0);
      int length = batch.length(i);
      if (length > 0) {
        if (!inPlace || at != from) {
          MemorySegment.copy(batch.slab(), from, to, at, length);
        }
        at += length;
        from += length;
      }
    }
    return new TransportBuffer(out.slice(start, size), batch::release);
  }

  private TransportBuffer deflated(PageBatch batch, ByteBuffer prefix) {
    PageDeflater zlib = deflater;
    if (zlib == null) {
      throw new IllegalStateException();
    }
    boolean newBlock = enter(batch);
    int bound = prefix.remaining() + batch.payloadBytes();
    for (int i = 0; i < batch.size(); i++) {
      bound += headBytes(batch, i, newBlock && i == 0) + 4;
    }
    ByteBuffer out = buffer(bound).put(prefix.duplicate());
    ByteBuffer contents = batch.lease().buffer();
    int from = batch.payloadOffset();
    for (int i = 0; i < batch.size(); i++) {
      int head = out.position();
      int length = batch.length(i);
      out.position(putHead(out, head, batch, i, newBlock && i == 0));
      ByteBuffer page = contents.slice(from, length);
      if (length < batch.pageSizeBytes() || !zlib.deflate(page, out)) {
        out.put(contents.slice(from, length));
      } else {
        out.putLong(
            head, out.getLong(head) ^ (QemuFormat.FLAG_PAGE | QemuFormat.FLAG_COMPRESS_PAGE));
      }
      from += length;
    }
    return new TransportBuffer(out.flip(), batch::release);
  }

  /**
   * Makes page records of a batch's zero pages only, for multifd, where the others go elsewhere.
   *
   * @param batch stays the caller's, and as it is
   * @return the records, on the heap; empty if the batch has no zero page
   */
  public ByteBuffer zeroPages(PageBatch batch) {
    int zeros = batch.count(PageKind.ZERO);
    if (zeros == 0) {
      return NOTHING;
    }
    boolean newBlock = enter(batch);
    ByteBuffer out = buffer(zeros * 9 + (newBlock ? 1 + currentName.length : 0));
    int at = 0;
    for (int i = 0; i < batch.size(); i++) {
      if (batch.kind(i) == PageKind.ZERO) {
        at = putHead(out, at, batch, i, newBlock && at == 0);
      }
    }
    bytesOfPages += at;
    return out;
  }

  /** {@return the record that makes all multifd channels wait for one another; since QEMU 8.1} */
  public ByteBuffer multifdFlush() {
    return buffer(8).putLong(QemuFormat.FLAG_MULTIFD_FLUSH).flip();
  }

  /** Makes a batch's block the current one. {@return whether it was not} */
  private boolean enter(PageBatch batch) {
    String name = batch.block().name();
    if (name.equals(currentBlock)) {
      return false;
    }
    currentBlock = name;
    currentName = name.getBytes(StandardCharsets.UTF_8);
    return true;
  }

  private int headBytes(PageBatch batch, int i, boolean withName) {
    int more =
        switch (batch.kind(i)) {
          case ZERO -> 1;
          case RAW -> 0;
          case DELTA -> 3;
          case PLACED -> throw placed(batch);
        };
    return 8 + (withName ? 1 + currentName.length : 0) + more;
  }

  private static IllegalArgumentException placed(PageBatch batch) {
    return new IllegalArgumentException(
        "pages that have gone another way cannot be written to QEMU's stream: " + batch);
  }

  /** Writes what comes before a page's contents. {@return where they begin} */
  private int putHead(ByteBuffer out, int start, PageBatch batch, int i, boolean withName) {
    int flag =
        switch (batch.kind(i)) {
          case ZERO -> QemuFormat.FLAG_ZERO;
          case RAW -> QemuFormat.FLAG_PAGE;
          case DELTA -> QemuFormat.FLAG_XBZRLE;
          case PLACED -> throw placed(batch);
        };
    long address = batch.page(i) * batch.pageSizeBytes();
    out.putLong(start, address | flag | (withName ? 0 : QemuFormat.FLAG_CONTINUE));
    int at = start + 8;
    if (withName) {
      out.put(at, (byte) currentName.length).put(at + 1, currentName);
      at += 1 + currentName.length;
    }
    switch (batch.kind(i)) {
      case ZERO -> out.put(at++, (byte) 0);
      case RAW, PLACED -> {}
      case DELTA -> {
        out.put(at, (byte) QemuFormat.ENCODING_XBZRLE);
        out.putShort(at + 1, (short) batch.length(i));
        at += 3;
      }
    }
    return at;
  }

  /** {@return how many bytes the page records so far have} */
  public long bytesOfPages() {
    return bytesOfPages;
  }

  /** Frees what compressing takes. The buffers that were made stay valid. */
  @Override
  public void close() {
    if (deflater != null) {
      deflater.close();
    }
  }
}
