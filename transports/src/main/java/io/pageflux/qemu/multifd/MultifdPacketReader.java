package io.pageflux.qemu.multifd;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * Turns the bytes of one multifd channel into elements: one reader for each channel.
 *
 * <p>It takes what QEMU 2.11 to 10 send, and survives what QEMU 7.2 sends by mistake: payload
 * lengths and block names left over in packets without pages, a SYNC that rides on a packet with
 * pages (it holds after them), and packet numbers that come twice.
 *
 * <p><b>How to drive it:</b> call {@link #read} with the same buffer until it returns null. Then
 * more bytes are wanted, unless {@link #needsLayout()} or {@link #needsSlab()}: then give what is
 * needed and call it again, even if the buffer is empty.
 *
 * <p><b>Ordering and threading:</b> elements come out in the order of the stream. Not for use by
 * two threads at once.
 *
 * <p><b>Memory bound:</b> a packet's header (1,344 bytes of heap for pages of 4 KiB), one slab for
 * a batch that is not complete, and what the decompression needs: 40 KiB for zlib, and for zstd the
 * window that the peer chose, at most 32 MiB (512 KiB at level 1). Nothing is allocated for a
 * length or count that was not checked, and nothing is decompressed beyond the pages announced.
 *
 * <p><b>Discard:</b> {@link #close} gives back the slab of an incomplete batch and frees the
 * decompression, and so does every error. A batch that was returned is the caller's.
 *
 * <p><b>Errors:</b> every fault of the stream is a {@link MigrationException} that names the
 * channel and the byte: of kind {@code INTEGRITY} if a payload cannot be decompressed or has
 * another length than announced, {@code TRANSPORT} if the channel ended too early, else {@code
 * PROTOCOL}. After one the reader cannot be used any more.
 */
public final class MultifdPacketReader implements AutoCloseable {

  private enum State {
    INIT,
    HEADER,
    PAGES,
    /** What of a payload comes after the last byte of the last page. */
    REST,
    ENDED
  }

  private final int pageSizeBytes;
  private final BatchGeometry geometry;
  private final PayloadDecoder decoder;
  private final MultifdPacketHeader header;
  private final ByteBuffer init = ByteBuffer.allocate(MultifdInit.BYTES);
  private final ByteBuffer excess = ByteBuffer.allocateDirect(1);

  private State state = State.INIT;
  private @Nullable RamLayout layout;
  private int channel = -1;
  private long bytesRead;

  // The packet that is being read.
  private long packetAt;
  private int nextPage;
  private int payloadLeft;
  private @Nullable Lease lease;
  private @Nullable PageBatch batch;
  private ByteBuffer contents = excess;

  /** Makes a reader for pages of 4 KiB, at the start of a channel. */
  public MultifdPacketReader(MultifdCompression compression, BatchGeometry geometry) {
    this(compression, RamBlockLayout.DEFAULT_PAGE_SIZE_BYTES, geometry);
  }

  /**
   * Makes a reader at the start of a channel.
   *
   * @param compression what both sides have agreed upon
   * @param pageSizeBytes the target's page size
   * @param geometry what the slabs that will be supplied can hold
   * @throws IllegalArgumentException if no target has this page size, or a batch cannot hold a page
   */
  public MultifdPacketReader(
      MultifdCompression compression, int pageSizeBytes, BatchGeometry geometry) {
    this.pageSizeBytes = MultifdFormat.requirePageSize(pageSizeBytes);
    if (geometry.pagesPerBatch(pageSizeBytes) < 1) {
      throw new IllegalArgumentException(
          geometry + " has no room for a page of " + pageSizeBytes + " bytes");
    }
    this.geometry = geometry;
    this.header = new MultifdPacketHeader(pageSizeBytes, compression);
    this.decoder = PayloadDecoder.of(compression);
  }

  /** {@return whether no packet can be read before {@link #expectPages} was called} */
  public boolean needsLayout() {
    return state == State.HEADER && layout == null;
  }

  /**
   * Says which blocks pages may belong to: what the main channel has listed.
   *
   * @throws IllegalArgumentException if a block has another page size than the reader
   * @throws IllegalStateException if it was said before
   */
  public void expectPages(RamLayout layout) {
    if (this.layout != null) {
      throw new IllegalStateException("the reader expects pages already");
    }
    for (RamBlockLayout block : layout.blocks()) {
      if (block.pageSizeBytes() != pageSizeBytes) {
        throw new IllegalArgumentException(
            block + ", but the packets are for pages of " + pageSizeBytes);
      }
    }
    this.layout = layout;
  }

  /** {@return whether a slab is needed to go on; see {@link #supply}} */
  public boolean needsSlab() {
    return state == State.PAGES && batch == null && lease == null;
  }

  /**
   * Gives a slab for the next batch, from now on the reader's to release.
   *
   * @throws IllegalStateException if none is needed; the slab stays the caller's
   */
  public void supply(Lease slab) {
    if (!needsSlab()) {
      throw new IllegalStateException("the reader needs no slab");
    }
    lease = slab;
  }

  /**
   * Takes bytes until an element is complete.
   *
   * @param in the next bytes of the channel; its position moves behind those that were taken
   * @return the next element, or null: all bytes were taken, or a layout or slab is needed
   * @throws MigrationException if the channel is at fault; what the buffer still holds is of no use
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public @Nullable MultifdElement read(ByteBuffer in) {
    requireUsable();
    try {
      return next(in);
    } catch (MigrationException e) {
      close();
      throw e;
    } catch (RuntimeException | Error e) {
      close();
      throw MigrationException.of(Kind.INTERNAL, place(bytesRead) + ": the reader failed: " + e, e);
    }
  }

  private void requireUsable() {
    if (state == State.ENDED) {
      throw new IllegalStateException("the reader has failed before, or was closed");
    }
  }

  private @Nullable MultifdElement next(ByteBuffer in) {
    while (true) {
      switch (state) {
        case INIT -> {
          return take(in, init) ? begin() : null;
        }
        case HEADER -> {
          RamLayout blocks = layout;
          if (blocks == null || !take(in, header.bytes())) {
            return null;
          }
          parseHeader(blocks);
          state = header.pages() > 0 ? State.PAGES : State.REST;
        }
        case PAGES -> {
          if (batch == null && !openBatch()) {
            return null;
          }
          fill(in);
          if (contents.hasRemaining()) {
            return null;
          }
          return emitBatch();
        }
        case REST -> {
          if (header.normalPages() > 0) {
            takeRest(in);
            if (payloadLeft > 0) {
              return null;
            }
          }
          state = State.HEADER;
          if (header.isSync()) {
            return new MultifdElement.Sync(header.packetNumber());
          }
        }
        case ENDED -> throw new AssertionError("no reader reads after its end");
      }
    }
  }

  /** Takes what there is of a fixed number of bytes. {@return whether they are complete} */
  private boolean take(ByteBuffer in, ByteBuffer out) {
    int n = Math.min(in.remaining(), out.remaining());
    out.put(out.position(), in, in.position(), n).position(out.position() + n);
    in.position(in.position() + n);
    bytesRead += n;
    return !out.hasRemaining();
  }

  private MultifdElement begin() {
    MultifdInit first = MultifdInit.decode(init.flip());
    channel = first.channel();
    state = State.HEADER;
    return new MultifdElement.Init(first);
  }

  private void parseHeader(RamLayout blocks) {
    packetAt = bytesRead - header.bytes().capacity();
    header.bytes().clear();
    try {
      header.parse(blocks);
    } catch (MultifdPacketHeader.Fault e) {
      throw MigrationException.of(Kind.PROTOCOL, place(packetAt + e.at()) + ": " + e.what());
    }
    nextPage = 0;
    payloadLeft = header.payloadBytes();
  }

  /** Makes a batch of as many of the packet's pages as it can hold. {@return false: no slab} */
  private boolean openBatch() {
    Lease slab = lease;
    RamLayout blocks = layout;
    if (slab == null || blocks == null) {
      return false;
    }
    RamBlockLayout block = blocks.blocks().get(header.blockIndex());
    PageBatch opened =
        new PageBatch(header.blockIndex(), block, slab, geometry.headroomBytes(), geometry);
    batch = opened;
    lease = null;
    long last = -1;
    while (nextPage < header.pages() && opened.hasRoom() && header.page(nextPage) > last) {
      boolean raw = nextPage < header.normalPages();
      last = header.page(nextPage);
      opened.append(last, raw ? PageKind.RAW : PageKind.ZERO, raw ? pageSizeBytes : 0);
      nextPage++;
    }
    int from = opened.payloadOffset();
    contents = slab.buffer().duplicate().limit(from + opened.payloadBytes()).position(from);
    return true;
  }

  private void fill(ByteBuffer in) {
    if (!contents.hasRemaining()) {
      return; // zero pages only
    }
    decode(in, contents);
    if (contents.hasRemaining() && payloadLeft == 0) {
      throw damaged(
          "it ends %d pages and %d bytes too early"
              .formatted(
                  rawPagesFrom(nextPage) + contents.remaining() / pageSizeBytes,
                  contents.remaining() % pageSizeBytes));
    }
  }

  private int rawPagesFrom(int page) {
    return Math.max(0, header.normalPages() - page);
  }

  private MultifdElement emitBatch() {
    PageBatch complete = batch;
    if (complete == null) {
      throw new AssertionError("there is no batch");
    }
    batch = null;
    contents = excess;
    if (nextPage == header.pages()) {
      state = State.REST;
    }
    return new MultifdElement.Pages(complete, header.packetNumber());
  }

  /** The decompression may end with bytes that stand for nothing, but not with more contents. */
  private void takeRest(ByteBuffer in) {
    excess.clear();
    decode(in, excess);
    if (!excess.hasRemaining()) {
      throw damaged("it goes on after the last of %d pages".formatted(header.normalPages()));
    }
  }

  private void decode(ByteBuffer in, ByteBuffer out) {
    int limit = in.limit();
    int from = in.position();
    in.limit(from + Math.min(in.remaining(), payloadLeft));
    try {
      decoder.decode(in, out);
    } catch (PayloadDecoder.Damage e) {
      throw MigrationException.of(
          Kind.INTEGRITY, place(bytesRead) + ": " + payload() + ": " + e.getMessage(), e);
    } finally {
      in.limit(limit);
      bytesRead += in.position() - from;
      payloadLeft -= in.position() - from;
    }
  }

  private MigrationException damaged(String what) {
    return MigrationException.of(Kind.INTEGRITY, place(bytesRead) + ": " + payload() + ": " + what);
  }

  private String payload() {
    return "the payload of %d bytes for %d pages of packet %d from byte %d"
        .formatted(header.payloadBytes(), header.normalPages(), header.packetNumber(), packetAt);
  }

  private String place(long at) {
    return "multifd channel %s, byte %d".formatted(channel < 0 ? "?" : channel, at);
  }

  /**
   * Says that the peer has closed the channel.
   *
   * @throws MigrationException of kind {@code TRANSPORT} if that is no place to end: inside a
   *     packet or before the first one
   * @throws IllegalStateException if the reader has failed before, or was closed
   */
  public void end() {
    requireUsable();
    String awaited = awaited();
    close();
    if (awaited != null) {
      throw MigrationException.of(
          Kind.TRANSPORT, place(bytesRead) + ": the channel ended, where " + awaited);
    }
  }

  private @Nullable String awaited() {
    return switch (state) {
      case INIT -> "%d bytes of its first packet were still to come".formatted(init.remaining());
      case HEADER ->
          header.bytes().position() == 0
              ? null
              : "%d bytes of a packet's header were still to come"
                  .formatted(header.bytes().remaining());
      case PAGES, REST ->
          payload() + " was to come, and %d bytes of it are missing".formatted(payloadLeft);
      case ENDED -> null;
    };
  }

  /** {@return how many bytes of the channel were taken} */
  public long bytesRead() {
    return bytesRead;
  }

  /** {@return the channel's number, or -1 as long as it is not known} */
  public int channel() {
    return channel;
  }

  /** Gives back what the reader holds. It cannot be used any more. May be called again. */
  @Override
  public void close() {
    if (state == State.ENDED) {
      return;
    }
    state = State.ENDED;
    decoder.close();
    contents = excess;
    if (batch != null) {
      batch.release();
      batch = null;
    }
    if (lease != null) {
      lease.release();
      lease = null;
    }
  }
}
