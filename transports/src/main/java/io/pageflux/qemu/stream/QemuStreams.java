package io.pageflux.qemu.stream;

import io.pageflux.MigrationException;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SynchronousSink;

/** QEMU's migration stream as a flux, in both directions. */
public final class QemuStreams {

  private QemuStreams() {}

  /**
   * Reads a stream whose pages have 4,096 bytes unless it says otherwise.
   *
   * @see #read(Flux, SlabPool, int)
   */
  public static Flux<QemuElement> read(Flux<TransportBuffer> source, SlabPool pool) {
    return read(source, pool, 4096);
  }

  /**
   * Reads a stream.
   *
   * <p><b>Demand:</b> elements are read as they are requested. One buffer of the source is held,
   * and one more is requested ahead; when no slab is free, reading waits for one.
   *
   * <p><b>Memory bound:</b> two slabs of the pool, besides those of the elements that were passed
   * on; two buffers of the source; and the reader's heap ({@link QemuStreamReader}).
   *
   * <p><b>Ordering and threading:</b> in the order of the stream; on the source's thread, the one
   * that requests, or the one that releases the slab that was waited for.
   *
   * <p><b>Discard and cancel:</b> buffers are released when they have been read; slabs and buffers
   * that were not are given back on cancel and on error. Elements that an operator downstream drops
   * are released too. What was passed on is the subscriber's.
   *
   * <p><b>Errors:</b> {@link MigrationException} as {@link QemuStreamReader} throws it, also when
   * the source completes where the stream may not end; the source's own errors; {@code
   * IllegalStateException} if the pool is closed.
   *
   * @param source the stream's bytes; they are released
   * @param pool its slabs take the pages; one suffices if the subscriber releases each batch before
   *     it requests the next
   * @param targetPageSizeBytes the guest's smallest page size, for streams that do not say it
   */
  public static Flux<QemuElement> read(
      Flux<TransportBuffer> source, SlabPool pool, int targetPageSizeBytes) {
    return read(source, pool, () -> new QemuStreamReader(pool.geometry(), targetPageSizeBytes));
  }

  /**
   * Reads a stream that may go over to post-copy, see {@link QemuStreamReader#withPostcopy}. From
   * the package with the devices' state on, no page waits for others: with each buffer of the
   * source, all that is in it is passed on. All else is as in {@link #read(Flux, SlabPool, int)}.
   */
  public static Flux<QemuElement> readWithPostcopy(
      Flux<TransportBuffer> source, SlabPool pool, int targetPageSizeBytes) {
    return read(
        source, pool, () -> QemuStreamReader.withPostcopy(pool.geometry(), targetPageSizeBytes));
  }

  /**
   * Loads the RAM of a stream into a guest's memory, see {@link QemuStreamLoader}; the devices'
   * state is read and dropped. A stream that is longer than one wants to wait for, or whose devices
   * are of interest, is for {@link #read} and a loader.
   *
   * <p><b>Demand:</b> one buffer of the source is held, and one more is requested ahead.
   *
   * <p><b>Memory bound:</b> two slabs of {@link BatchGeometry#forPageSize}, and what the reader and
   * the loader take.
   *
   * <p><b>Ordering and threading:</b> pages are loaded on the source's thread.
   *
   * <p><b>Discard and cancel:</b> buffers are released. What was loaded stays.
   *
   * <p><b>Errors:</b> those of the source, of {@link QemuStreamReader} and of {@link
   * QemuStreamLoader}; {@code PROTOCOL} if pages come on other connections (multifd).
   *
   * @param memory with pages of the guest's page size
   * @param machineType what the stream has to be of; null for whatever machine
   * @return the loader when the stream has ended, for its counts
   */
  public static Mono<QemuStreamLoader> load(
      Flux<TransportBuffer> source, GuestMemory memory, @Nullable String machineType) {
    int pageSizeBytes = memory.layout().largestPageSizeBytes();
    return Mono.using(
        () -> new SlabPool(2, BatchGeometry.forPageSize(pageSizeBytes)),
        pool -> {
          QemuStreamLoader loader = new QemuStreamLoader(memory, machineType);
          return read(source, pool, pageSizeBytes)
              .doOnNext(element -> load(loader, element))
              .then(Mono.just(loader));
        },
        SlabPool::close);
  }

  private static void load(QemuStreamLoader loader, QemuElement element) {
    try {
      if (element instanceof QemuElement.MultifdFlush) {
        throw MigrationException.of(
            MigrationException.Kind.PROTOCOL,
            "byte %d of the QEMU stream: QEMU migrates with the capability multifd: switch it off,"
                    .formatted(element.offset())
                + " or read all its connections");
      }
      loader.take(element);
    } finally {
      element.release();
    }
  }

  private static Flux<QemuElement> read(
      Flux<TransportBuffer> source, SlabPool pool, Supplier<QemuStreamReader> reader) {
    return Flux.using(
            () -> new Reading(pool, reader.get()),
            reading ->
                source
                    .concatMap(buffer -> elements(reading, buffer), 1)
                    .concatWith(Flux.defer(() -> Flux.generate(reading::end))),
            Reading::close)
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
        .doOnDiscard(QemuElement.class, QemuElement::release);
  }

  private static Flux<QemuElement> elements(Reading reading, TransportBuffer buffer) {
    return Flux.using(
        () -> buffer,
        held ->
            reading
                .slab()
                .thenMany(
                    Flux.<QemuElement>generate(
                        sink -> {
                          QemuElement element = reading.read(held.bytes());
                          if (element == null) {
                            sink.complete();
                          } else {
                            sink.next(element);
                          }
                        }))
                .repeat(reading::needsSlab),
        TransportBuffer::release);
  }

  /** A reader for one subscription. A cancel may come from another thread than the bytes. */
  private static final class Reading {

    private final SlabPool pool;
    private final QemuStreamReader reader;
    private boolean closed;

    Reading(SlabPool pool, QemuStreamReader reader) {
      this.pool = pool;
      this.reader = reader;
    }

    synchronized @Nullable QemuElement read(ByteBuffer in) {
      if (closed) {
        return null;
      }
      QemuElement element = reader.read(in);
      return element == null && reader.isHandedOver() && !reader.needsSlab()
          ? reader.flush()
          : element;
    }

    synchronized boolean needsSlab() {
      return !closed && reader.needsSlab();
    }

    Mono<Void> slab() {
      return Mono.defer(() -> needsSlab() ? pool.acquire().map(this::supply).then() : Mono.empty());
    }

    /** Hands a slab over. What is returned instead of it may be discarded; the slab must not be. */
    private synchronized boolean supply(Lease lease) {
      reader.supply(lease); // A closed one releases it.
      return true;
    }

    synchronized void end(SynchronousSink<QemuElement> sink) {
      QemuElement last = closed ? null : reader.end();
      if (last == null) {
        sink.complete();
      } else {
        sink.next(last);
      }
    }

    synchronized void close() {
      closed = true;
      reader.close();
    }
  }

  /**
   * Writes a whole stream that a QEMU started with {@code -S -incoming} accepts: RAM, and no device
   * state.
   *
   * <p><b>Demand:</b> one batch is requested for each buffer but the first and the last; nothing is
   * prefetched.
   *
   * <p><b>Memory bound:</b> a batch's records are made in its own slab; compressed pages in a
   * buffer of about the batch's size. The end of a section goes out with the next batch.
   *
   * <p><b>Ordering and threading:</b> in the order of the batches, on their thread.
   *
   * <p><b>Discard and cancel:</b> a buffer's release releases its batch; batches and buffers that
   * an operator drops are released.
   *
   * <p><b>Errors:</b> those of the source; {@code IllegalArgumentException} for a batch of another
   * layout.
   *
   * @param pages what the destination is to load, each page after its older versions
   */
  public static Flux<TransportBuffer> write(QemuStreamSpec spec, Flux<PageBatch> pages) {
    return Flux.using(
            () -> new Writing(spec),
            writing ->
                Flux.concat(
                    Mono.fromSupplier(writing::opening),
                    pages.filter(QemuStreams::holdsPages).map(writing::pages),
                    Mono.fromSupplier(writing::closing)),
            Writing::close)
        .doOnDiscard(PageBatch.class, PageBatch::release)
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release);
  }

  private static boolean holdsPages(PageBatch batch) {
    return !batch.isEmpty(); // What the filter rejects is discarded, and so released.
  }

  /** A writer for one subscription. */
  private static final class Writing {

    private final QemuStreamSpec spec;
    private final QemuStreamWriter writer;
    private final Map<String, RamBlockLayout> blocks = new HashMap<>();
    private boolean open;
    private long sectionStart;

    Writing(QemuStreamSpec spec) {
      this.spec = spec;
      this.writer = new QemuStreamWriter(2, spec.compressionLevel());
      spec.layout()
          .toRamLayout(spec.targetPageSizeBytes())
          .blocks()
          .forEach(block -> blocks.put(block.name(), block));
    }

    TransportBuffer opening() {
      return joined(
          writer.header(),
          writer.configuration(
              spec.machineType(),
              spec.layout().hasAddresses() ? List.of(QemuFormat.IGNORE_SHARED) : List.of()),
          writer.sectionStart(),
          writer.ramBlocks(spec.layout()),
          writer.endOfSection());
    }

    TransportBuffer pages(PageBatch batch) {
      try {
        if (!batch.block().equals(blocks.get(batch.block().name()))) {
          throw new IllegalArgumentException(
              "the batch is of block %s, but the stream has %s"
                  .formatted(batch.block(), blocks.get(batch.block().name())));
        }
        return writer.pages(batch, sectionHead());
      } catch (RuntimeException | Error e) {
        batch.release();
        throw e;
      }
    }

    /**
     * What has to come before the next batch: the end of a section, and the next one's beginning.
     */
    private ByteBuffer sectionHead() {
      long bytes = writer.bytesOfPages();
      // Compressed pages of a section are loaded out of order, so no page may be in it twice.
      boolean full = bytes - sectionStart >= spec.sectionBytes() || spec.compressionLevel() > 0;
      if (open && !full) {
        return ByteBuffer.allocate(0);
      }
      ByteBuffer head =
          open ? join(writer.endOfSection(), writer.sectionPart()) : writer.sectionPart();
      open = true;
      sectionStart = bytes;
      return head;
    }

    TransportBuffer closing() {
      ByteBuffer end = join(writer.sectionEnd(), writer.endOfSection(), writer.endOfStream());
      return open ? joined(writer.endOfSection(), end) : joined(end);
    }

    private static TransportBuffer joined(ByteBuffer... parts) {
      return TransportBuffer.of(join(parts));
    }

    private static ByteBuffer join(ByteBuffer... parts) {
      int size = 0;
      for (ByteBuffer part : parts) {
        size += part.remaining();
      }
      ByteBuffer all = ByteBuffer.allocate(size);
      for (ByteBuffer part : parts) {
        all.put(part);
      }
      return all.flip();
    }

    void close() {
      writer.close();
    }
  }
}
