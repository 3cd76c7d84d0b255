package io.pageflux.qemu.multifd;

import com.github.luben.zstd.Zstd;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Turns batches of pages into multifd packets of up to 512 KiB of guest memory each.
 *
 * <p><b>Which writer for which channel:</b> with zlib, each channel needs a writer of its own,
 * whose packets are sent on that channel, all of them and in order: they are one zlib stream.
 * Without compression and with zstd any writer, in any thread, may write for any channel: each zstd
 * packet is a frame of its own, with a checksum that QEMU verifies.
 *
 * <p><b>Memory bound:</b> with a compression 528 KiB of scratch outside the heap, and the
 * compressor's own memory; a packet's header (1,344 bytes of heap for pages of 4 KiB) until it was
 * sent.
 *
 * <p><b>Ordering and threading:</b> for one thread at a time.
 */
public final class MultifdPacketWriter implements AutoCloseable {

  private final MultifdCompression compression;
  private final int pageSizeBytes;
  private final int maxPages;
  private final boolean zeroPagesInPackets;
  private final LongSupplier packetNumbers;
  private final @Nullable PayloadEncoder encoder;

  /**
   * Makes a writer for pages of 4 KiB.
   *
   * @param compression what both sides have agreed upon
   * @param level of the compression: 0 to 9 for zlib, zstd's own for zstd; without compression it
   *     means nothing
   * @param zeroPagesInPackets whether the destination is QEMU 9.0 or newer, and zero pages are to
   *     go into packets. Older ones ignore them there without a word; then zero pages are left out
   *     here, and have to be sent on the main channel.
   * @param packetNumbers gives each packet its number; QEMU has one sequence for all channels, but
   *     does not rely on it
   */
  public MultifdPacketWriter(
      MultifdCompression compression,
      int level,
      boolean zeroPagesInPackets,
      LongSupplier packetNumbers) {
    this(
        compression,
        level,
        RamBlockLayout.DEFAULT_PAGE_SIZE_BYTES,
        zeroPagesInPackets,
        packetNumbers);
  }

  /**
   * Makes a writer for pages of another size.
   *
   * @throws IllegalArgumentException if no target has this page size, or the compression has no
   *     such level
   */
  public MultifdPacketWriter(
      MultifdCompression compression,
      int level,
      int pageSizeBytes,
      boolean zeroPagesInPackets,
      LongSupplier packetNumbers) {
    this.compression = compression;
    this.pageSizeBytes = MultifdFormat.requirePageSize(pageSizeBytes);
    this.maxPages = MultifdFormat.maxPages(pageSizeBytes);
    this.zeroPagesInPackets = zeroPagesInPackets;
    this.packetNumbers = packetNumbers;
    requireLevel(compression, level);
    this.encoder =
        switch (compression) {
          case NONE -> null;
          case ZLIB -> new PayloadEncoder.Zlib(level);
          case ZSTD -> new PayloadEncoder.ZstdFrames(level);
        };
  }

  /**
   * Checks a level.
   *
   * @throws IllegalArgumentException if the compression does not have it
   */
  static void requireLevel(MultifdCompression compression, int level) {
    int min = compression == MultifdCompression.ZSTD ? Zstd.minCompressionLevel() : 0;
    int max = compression == MultifdCompression.ZSTD ? Zstd.maxCompressionLevel() : 9;
    if (compression != MultifdCompression.NONE && (level < min || level > max)) {
      throw new IllegalArgumentException(
          "%s has the levels %d to %d, but not %d".formatted(compression, min, max, level));
    }
  }

  /**
   * Writes the packets of a batch, of its raw pages and, if that was asked for, its zero pages.
   *
   * <p>The contents are not copied, or compressed into the slab in their own place: so what is
   * returned is good until the batch is released, and the batch must not be used for anything else
   * from here on. (What does not become smaller moves into the batch's headroom, or, where there is
   * none, into the heap.)
   *
   * @return what is to be sent, in order; nothing if there is no page to send here
   * @throws IllegalArgumentException if the batch is compressed, has deltas, or pages of another
   *     size; it is as it was
   */
  public List<ByteBuffer> write(PageBatch batch) {
    requireSuitable(batch);
    List<ByteBuffer> out = new ArrayList<>(2);
    Placement placement = new Placement(batch);
    ByteBuffer header = null;
    int normal = 0;
    int zero = 0;
    long[] zeros = new long[zeroPagesInPackets ? maxPages : 0];
    for (int i = 0; i < batch.size(); i++) {
      boolean raw = batch.kind(i) == PageKind.RAW;
      if (!raw && !zeroPagesInPackets) {
        continue;
      }
      if (header == null) {
        header = begin(batch.block().name());
      }
      long offset = batch.page(i) * pageSizeBytes;
      if (raw) {
        header.putLong(MultifdFormat.OFFSETS_AT + Long.BYTES * normal++, offset);
      } else {
        zeros[zero++] = offset;
      }
      if (normal + zero == maxPages) {
        finish(out, header, normal, zeros, zero, placement);
        header = null;
        normal = 0;
        zero = 0;
      }
    }
    if (header != null) {
      finish(out, header, normal, zeros, zero, placement);
    }
    return out;
  }

  private void requireSuitable(PageBatch batch) {
    if (batch.pageSizeBytes() != pageSizeBytes) {
      throw new IllegalArgumentException(
          batch.block() + ", but the packets are for pages of " + pageSizeBytes);
    }
    if (batch.isCompressed()
        || batch.count(PageKind.DELTA) > 0
        || batch.count(PageKind.PLACED) > 0) {
      throw new IllegalArgumentException(
          "multifd has no deltas and compresses itself, so it cannot take " + batch);
    }
  }

  private ByteBuffer begin(String block) {
    ByteBuffer header = ByteBuffer.allocate(MultifdFormat.headerBytes(pageSizeBytes));
    header.putInt(0, MultifdFormat.MAGIC).putInt(4, MultifdFormat.VERSION);
    header.putInt(MultifdFormat.ALLOCATED_AT, maxPages);
    header.putLong(MultifdFormat.NUMBER_AT, packetNumbers.getAsLong());
    // At most 255 bytes, so that a zero follows.
    header.put(MultifdFormat.BLOCK_AT, block.getBytes(StandardCharsets.UTF_8));
    return header;
  }

  private void finish(
      List<ByteBuffer> out,
      ByteBuffer header,
      int normal,
      long[] zeros,
      int zero,
      Placement placement) {
    for (int i = 0; i < zero; i++) {
      header.putLong(MultifdFormat.OFFSETS_AT + Long.BYTES * (normal + i), zeros[i]);
    }
    header.putInt(MultifdFormat.FLAGS_AT, compression.flag());
    header.putInt(MultifdFormat.NORMAL_AT, normal);
    header.putInt(MultifdFormat.ZERO_AT, zero);
    out.add(header);
    if (normal > 0) {
      ByteBuffer payload = placement.next(normal * pageSizeBytes, encoder);
      header.putInt(MultifdFormat.PAYLOAD_AT, payload.remaining());
      out.add(payload);
    }
  }

  /**
   * Writes a SYNC.
   *
   * @return the packet, which has no pages
   */
  public ByteBuffer sync() {
    ByteBuffer header = begin("");
    header.putInt(MultifdFormat.FLAGS_AT, MultifdFormat.FLAG_SYNC);
    return header;
  }

  /** Frees the compression. May be called again, but not while a batch is written. */
  @Override
  public void close() {
    if (encoder != null) {
      encoder.close();
    }
  }

  /** Where in a batch's slab the packets' payloads lie: compressed ones take their pages' place. */
  private static final class Placement {
    private final ByteBuffer slab;
    private int source;
    private int target;

    Placement(PageBatch batch) {
      slab = batch.lease().buffer();
      source = batch.payloadOffset();
      target = encodesFrom(batch);
    }

    private static int encodesFrom(PageBatch batch) {
      return Math.max(0, batch.payloadOffset() - 4096);
    }

    ByteBuffer next(int bytes, @Nullable PayloadEncoder encoder) {
      ByteBuffer contents = slab.slice(source, bytes);
      source += bytes;
      if (encoder == null) {
        return contents;
      }
      ByteBuffer encoded = encoder.encode(contents);
      int length = encoded.remaining();
      if (length > source - target) {
        // It has grown, and would lie upon pages that are still to be encoded.
        return ByteBuffer.allocate(length).put(encoded).flip();
      }
      ByteBuffer placed = slab.slice(target, length);
      placed.put(0, encoded, 0, length);
      target += length;
      return placed;
    }
  }
}
