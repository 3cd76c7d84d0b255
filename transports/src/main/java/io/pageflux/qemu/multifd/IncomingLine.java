package io.pageflux.qemu.multifd;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.Lease;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuStreamReader;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * One connection's bytes taken apart. Its first byte says whether it is the main channel: QEMU does
 * not promise in which order they connect.
 *
 * <p>Bytes are only taken apart on demand, and a slab is only waited for when a page needs it. So a
 * line holds at most one slab beside what it has emitted.
 *
 * <p>A cancel may come from another thread while bytes are taken apart; the monitor keeps the
 * readers from being freed under the hands of who uses them.
 */
final class IncomingLine {

  private final MultifdIncomingSpec spec;
  private final SlabPool pool;
  private final Session session;
  private final Flux<TransportBuffer> bytes;

  // Guarded by the monitor.
  private @Nullable QemuStreamReader main;
  private @Nullable MultifdPacketReader packets;
  private boolean closed;

  private volatile boolean waitsForPeer = true;
  private volatile String name = "a connection that has sent nothing";

  /** What the lines of a migration have in common. */
  interface Session {

    /** The peer has sent something. */
    void heard();

    /** A connection turned out to be the main channel. */
    void foundMain(IncomingLine line);

    /** A connection turned out to be a channel. */
    void foundChannel(IncomingLine line, int channel);

    /** The main channel has listed the blocks. */
    void foundLayout(RamLayout layout);

    /** {@return the blocks, when they are known} */
    Mono<RamLayout> layout();

    /** {@return whether an element of the main channel is a sync point} */
    boolean isSyncPoint(QemuElement element);
  }

  IncomingLine(
      MultifdIncomingSpec spec, SlabPool pool, Session session, Flux<TransportBuffer> bytes) {
    this.spec = spec;
    this.pool = pool;
    this.session = session;
    this.bytes = bytes;
  }

  /** What the line is, for messages. */
  String name() {
    return name;
  }

  /** Whether nothing but bytes of the peer can make the line go on, if it is asked to. */
  boolean waitsForPeer() {
    return waitsForPeer;
  }

  synchronized boolean isMain() {
    return main != null;
  }

  Flux<LinePiece> pieces() {
    return bytes
        .doOnNext(chunk -> session.heard())
        .concatMap(this::piecesOf, 1)
        .concatWith(Flux.generate(sink -> emit(sink::next, sink::complete, this::atEnd)))
        .doOnNext(this::announceLayout)
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
        .doOnDiscard(Lease.class, Lease::release)
        .doOnDiscard(LinePiece.class, LinePiece::release)
        .doFinally(signal -> close());
  }

  private Flux<LinePiece> piecesOf(TransportBuffer chunk) {
    return Flux.defer(() -> whatIsNeeded().thenMany(inChunk(chunk)))
        .repeat(this::needsMore)
        .doFinally(signal -> chunk.release());
  }

  private Flux<LinePiece> inChunk(TransportBuffer chunk) {
    return Flux.generate(sink -> emit(sink::next, sink::complete, () -> readPiece(chunk.bytes())));
  }

  private interface Step {
    @Nullable LinePiece take();
  }

  private void emit(Consumer<LinePiece> next, Runnable complete, Step step) {
    waitsForPeer = false;
    LinePiece piece = step.take();
    if (piece == null) {
      waitsForPeer = true;
      complete.run();
    } else {
      waitsForPeer = true;
      next.accept(piece);
    }
  }

  private synchronized boolean needsMore() {
    return !closed
        && (main != null && main.needsSlab()
            || packets != null && (packets.needsSlab() || packets.needsLayout()));
  }

  /** Waits for what the reader needs before it can go on; usually nothing. */
  private synchronized Mono<Void> whatIsNeeded() {
    MultifdPacketReader reader = packets;
    if (closed) {
      return Mono.empty();
    }
    if (reader != null && reader.needsLayout()) {
      return session.layout().doOnNext(this::expectPages).then();
    }
    if (main != null && main.needsSlab() || reader != null && reader.needsSlab()) {
      waitsForPeer = false;
      // And not then(), which discards what it leaves out, and so would release the slab.
      return pool.acquire().flatMap(this::supply);
    }
    return Mono.empty();
  }

  private synchronized void expectPages(RamLayout layout) {
    if (!closed && packets != null) {
      packets.expectPages(layout);
    }
  }

  private synchronized Mono<Void> supply(Lease lease) {
    if (!closed && main != null) {
      main.supply(lease);
    } else if (!closed && packets != null) {
      packets.supply(lease);
    } else {
      lease.release();
    }
    return Mono.empty();
  }

  private synchronized @Nullable LinePiece readPiece(ByteBuffer in) {
    if (closed) {
      return null;
    }
    if (main == null && packets == null) {
      if (!in.hasRemaining()) {
        return null;
      }
      if (in.get(in.position()) == (byte) (MultifdFormat.MAGIC >>> 24)) {
        packets =
            new MultifdPacketReader(spec.compression(), spec.pageSizeBytes(), pool.geometry());
        name = "a multifd channel";
      } else {
        main = new QemuStreamReader(pool.geometry(), spec.pageSizeBytes());
        name = "the main channel";
        session.foundMain(this);
      }
    }
    QemuStreamReader stream = main;
    if (stream != null) {
      QemuElement element = stream.read(in);
      return element == null ? null : mainPiece(element);
    }
    return packets == null ? null : channelPiece(packets, in);
  }

  private LinePiece mainPiece(QemuElement element) {
    return session.isSyncPoint(element)
        ? new LinePiece.Sync(element)
        : new LinePiece.Element(element);
  }

  /** Outside of the monitor: the other lines may go on when they hear of it, in this thread. */
  private void announceLayout(LinePiece piece) {
    if (piece instanceof LinePiece.Element(QemuElement.RamBlocks blocks)) {
      try {
        session.foundLayout(blocks.layout().toRamLayout(spec.pageSizeBytes()));
      } catch (IllegalArgumentException e) {
        throw MigrationException.of(
            Kind.LAYOUT,
            "byte %d of the QEMU stream: %s".formatted(blocks.offset(), e.getMessage()),
            e);
      }
    }
  }

  private @Nullable LinePiece channelPiece(MultifdPacketReader reader, ByteBuffer in) {
    while (true) {
      long at = reader.bytesRead();
      MultifdElement element = reader.read(in);
      switch (element) {
        case null -> {
          return null;
        }
        case MultifdElement.Init init -> begin(init.init());
        case MultifdElement.Pages pages -> {
          return new LinePiece.Element(new QemuElement.Pages(at, pages.batch()));
        }
        case MultifdElement.Sync sync -> {
          return new LinePiece.Sync(null);
        }
      }
    }
  }

  private void begin(MultifdInit init) {
    name = "multifd channel " + init.channel();
    if (spec.uuid() != null && !spec.uuid().equals(init.uuid())) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "%s, byte 8: it comes from machine %s, but %s was expected"
              .formatted(name, init.uuid(), spec.uuid()));
    }
    if (init.channel() >= spec.channels()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "%s, byte 24: only channels 0 to %d were agreed upon: set multifd-channels alike"
              .formatted(name, spec.channels() - 1));
    }
    session.foundChannel(this, init.channel());
  }

  private synchronized @Nullable LinePiece atEnd() {
    if (closed) {
      return null;
    }
    if (main != null) {
      QemuElement pages = main.end();
      return pages == null ? null : new LinePiece.Element(pages);
    }
    if (packets == null) {
      throw MigrationException.of(
          Kind.TRANSPORT, "a connection was closed before anything came over it");
    }
    packets.end();
    closed = true;
    return null;
  }

  private synchronized void close() {
    closed = true;
    if (main != null) {
      main.close();
    }
    if (packets != null) {
      packets.close();
    }
  }
}
