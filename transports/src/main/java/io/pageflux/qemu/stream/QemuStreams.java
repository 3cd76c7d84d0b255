package io.pageflux.qemu.stream;

import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.function.Function;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** QEMU's stream as operators. */
public final class QemuStreams {

  private QemuStreams() {}

  /**
   * {@return the operator that turns the bytes of a stream into its elements}
   *
   * <p><b>Demand:</b> one buffer at a time, when all elements of the one before were asked for: so
   * a slow subscriber slows QEMU down.
   *
   * <p><b>Memory bound:</b> the slabs of the pool, one buffer, and what a {@link QemuStreamReader}
   * takes. When all slabs are out, nothing is read.
   *
   * <p><b>Ordering and threading:</b> in order; on the thread of the source, or that which releases
   * a slab.
   *
   * <p><b>Discard and cancel:</b> the buffer and the pages at hand are released; elements that were
   * emitted are the subscriber's.
   *
   * <p><b>Errors:</b> those of the source and of the reader, among them that the stream ended where
   * it may not.
   *
   * @param pool where pages go
   * @param pageSizeBytes the size of the target's page
   */
  public static Function<Flux<TransportBuffer>, Flux<QemuElement>> read(
      SlabPool pool, int pageSizeBytes) {
    return source ->
        Flux.using(
            () -> new QemuStreamReader(pool.geometry(), pageSizeBytes),
            reader ->
                source
                    .concatMap(buffer -> elements(reader, buffer, pool), 1)
                    .concatWith(last(reader))
                    .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
                    .doOnDiscard(Lease.class, Lease::release)
                    .doOnDiscard(QemuElement.Pages.class, pages -> pages.batch().release()),
            QemuStreamReader::close);
  }

  private static Flux<QemuElement> last(QemuStreamReader reader) {
    return Flux.generate(
        sink -> {
          QemuElement element = reader.end();
          if (element == null) {
            sink.complete();
          } else {
            sink.next(element);
          }
        });
  }

  private static Flux<QemuElement> elements(
      QemuStreamReader reader, TransportBuffer buffer, SlabPool pool) {
    return Flux.<QemuElement>generate(
            sink -> {
              QemuElement element = reader.read(buffer.bytes());
              if (element == null) {
                sink.complete();
              } else {
                sink.next(element);
              }
            })
        // Until the buffer is used up: it was left for want of a slab before.
        .concatWith(
            Mono.defer(() -> reader.needsSlab() ? pool.acquire() : Mono.<Lease>empty())
                .flatMapMany(
                    lease -> {
                      reader.supply(lease);
                      return elements(reader, keep(buffer), pool);
                    }))
        .doFinally(signal -> buffer.release());
  }

  /** The same bytes, which the outer one of two users releases. */
  private static TransportBuffer keep(TransportBuffer buffer) {
    return new TransportBuffer(buffer.bytes(), () -> {});
  }

  /**
   * {@return the operator that makes a whole stream of batches, which QEMU loads} RAM only: a
   * receiver that was started with {@code -S} has it in its memory afterwards.
   *
   * <p><b>Demand:</b> one batch at a time.
   *
   * <p><b>Memory bound:</b> one buffer of a batch's size, allocated for each.
   *
   * <p><b>Ordering and threading:</b> in order, on the source's threads.
   *
   * <p><b>Discard and cancel:</b> a batch is released as soon as it was written.
   *
   * <p><b>Errors:</b> those of the source.
   *
   * @param machineType the receiver's, as {@code pc-i440fx-7.2}
   * @param layout the blocks, all of them the receiver's, with its sizes
   */
  public static Function<Flux<PageBatch>, Flux<TransportBuffer>> write(
      String machineType, QemuRamLayout layout) {
    return source ->
        Flux.defer(
            () -> {
              QemuStreamWriter writer = new QemuStreamWriter();
              return Flux.concat(
                      piece(QemuStreamWriter.begin(machineType)),
                      piece(QemuStreamWriter.ramStart(layout)),
                      source.map(batch -> section(writer, batch)),
                      piece(QemuStreamWriter.sectionBegin(true)),
                      piece(QemuStreamWriter.sectionEnd()),
                      piece(QemuStreamWriter.end()))
                  .doOnDiscard(PageBatch.class, PageBatch::release);
            });
  }

  private static Mono<TransportBuffer> piece(ByteBuffer bytes) {
    return Mono.just(TransportBuffer.of(bytes));
  }

  /** A batch as a section of its own: sections cost ten bytes, and QEMU looks up between them. */
  private static TransportBuffer section(QemuStreamWriter writer, PageBatch batch) {
    try {
      ByteBuffer begin = QemuStreamWriter.sectionBegin(false);
      ByteBuffer end = QemuStreamWriter.sectionEnd();
      ByteBuffer out =
          ByteBuffer.allocateDirect(
              begin.remaining() + QemuStreamWriter.mostBytes(batch) + end.remaining());
      out.put(begin);
      writer.write(batch, out);
      out.put(end);
      return TransportBuffer.of(out.flip());
    } finally {
      batch.release();
    }
  }
}
