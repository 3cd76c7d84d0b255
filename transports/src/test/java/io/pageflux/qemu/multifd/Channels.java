package io.pageflux.qemu.multifd;

import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.function.Consumer;

/** Channels as bytes, made and taken apart again. */
final class Channels {

  static final int PAGE = 4096;
  static final RamLayout LAYOUT =
      new RamLayout(
          List.of(
              new RamBlockLayout("pc.ram", 1024 * PAGE, PAGE),
              new RamBlockLayout("pc.bios", 64 * PAGE, PAGE)));

  private Channels() {}

  /** A page as a test wants to see it. */
  record Page(String block, long page, PageKind kind, ByteBuffer contents) {}

  /** What came out of a channel: the pages, and after how many of them there was a SYNC. */
  record Decoded(List<Page> pages, List<Integer> syncs) {}

  static byte[] bytes(Iterable<ByteBuffer> buffers) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    for (ByteBuffer buffer : buffers) {
      byte[] piece = new byte[buffer.remaining()];
      buffer.get(buffer.position(), piece);
      out.writeBytes(piece);
    }
    return out.toByteArray();
  }

  static byte[] init(int channel) {
    return bytes(List.of(new MultifdInit(MultifdInit.NO_UUID, channel).encode()));
  }

  /** A batch of the pages from a first one on, of these kinds. */
  static PageBatch batch(SlabPool pool, int block, long first, Random random, PageKind... kinds) {
    Lease lease = Objects.requireNonNull(pool.tryAcquire());
    BatchGeometry geometry = pool.geometry();
    PageBatch batch =
        new PageBatch(block, LAYOUT.blocks().get(block), lease, geometry.headroomBytes(), geometry);
    byte[] contents = new byte[PAGE];
    for (int i = 0; i < kinds.length; i++) {
      boolean raw = kinds[i] == PageKind.RAW;
      if (raw) {
        fill(contents, random);
        lease.buffer().put(batch.payloadOffset() + batch.payloadBytes(), contents);
      }
      batch.append(first + i, kinds[i], raw ? PAGE : 0);
    }
    return batch;
  }

  /** Half of all pages can be compressed. */
  private static void fill(byte[] page, Random random) {
    random.nextBytes(page);
    if (random.nextBoolean()) {
      for (int i = 0; i < PAGE; i++) {
        page[i] = (byte) (page[i] & 1 | 'a');
      }
    }
  }

  static PageKind[] kinds(int count, PageKind kind) {
    PageKind[] kinds = new PageKind[count];
    java.util.Arrays.fill(kinds, kind);
    return kinds;
  }

  static List<Page> pages(PageBatch batch) {
    List<Page> pages = new ArrayList<>();
    int at = batch.payloadOffset();
    for (int i = 0; i < batch.size(); i++) {
      byte[] contents = new byte[batch.length(i)];
      batch.lease().buffer().get(at, contents);
      at += contents.length;
      pages.add(
          new Page(batch.block().name(), batch.page(i), batch.kind(i), ByteBuffer.wrap(contents)));
    }
    return pages;
  }

  static Decoded decode(MultifdPacketReader reader, SlabPool pool, byte[] channel, int pieceBytes) {
    Decoded decoded = new Decoded(new ArrayList<>(), new ArrayList<>());
    drive(
        reader,
        pool,
        channel,
        pieceBytes,
        element -> {
          switch (element) {
            case MultifdElement.Init init -> {}
            case MultifdElement.Sync sync -> decoded.syncs().add(decoded.pages().size());
            case MultifdElement.Pages pages -> {
              decoded.pages().addAll(pages(pages.batch()));
              pages.batch().release();
            }
          }
        });
    reader.end();
    return decoded;
  }

  /** Feeds a reader in pieces; every other piece is direct. */
  static void drive(
      MultifdPacketReader reader,
      SlabPool pool,
      byte[] channel,
      int pieceBytes,
      Consumer<MultifdElement> sink) {
    for (int at = 0; at < channel.length; at += pieceBytes) {
      int n = Math.min(pieceBytes, channel.length - at);
      ByteBuffer piece =
          (at / pieceBytes) % 2 == 0 ? ByteBuffer.allocate(n) : ByteBuffer.allocateDirect(n);
      piece.put(channel, at, n).flip();
      while (true) {
        MultifdElement element = reader.read(piece);
        if (element != null) {
          sink.accept(element);
        } else if (reader.needsLayout()) {
          reader.expectPages(LAYOUT);
        } else if (reader.needsSlab()) {
          reader.supply(Objects.requireNonNull(pool.tryAcquire()));
        } else {
          break;
        }
      }
    }
  }
}
