package io.pageflux.qemu.multifd;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.operator.OrderedParallelMap;
import io.pageflux.page.PageBatch;
import io.pageflux.qemu.stream.QemuStreamSpec;
import io.pageflux.qemu.stream.QemuStreamWriter;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * Sends batches of pages to a QEMU that receives with multifd.
 *
 * <p>Each batch goes over the channel that takes it first. A page that was sent since the last sync
 * point is only sent again behind another one, so the versions of a page never race each other over
 * different channels, whatever the source does. Each section of the main channel ends with a sync
 * point; there are as many of both as that takes.
 *
 * <p><b>Demand:</b> batches are requested one at a time, when the one before was given to a
 * channel: so a destination that is slow on all channels is felt by the source.
 *
 * <p><b>Ordering and threading:</b> batches are taken on any of the connections' threads; packets
 * are compressed by the workers, those of one channel side by side with zstd, in turn with zlib.
 *
 * <p><b>Memory bound:</b> one bit for each page of the guest. For each channel the batches that its
 * transport holds, and with a compression two more that are being compressed, with the compressors
 * (528 KiB each, and their own memory), one for each channel with zlib and two with zstd.
 *
 * <p><b>Discard and cancel:</b> a cancel, an error of the source, and the end of any connection end
 * all of it, and what was not sent is released. The connections are the caller's to dispose.
 *
 * <p><b>Errors:</b> the source's; the connections'; {@link MigrationException} of kind {@code
 * TRANSPORT} if one was closed before all was sent; {@link IllegalArgumentException} for a batch
 * that is of another layout, compressed, or has deltas. QEMU says what it thinks of it all only
 * over QMP.
 */
public final class MultifdOutgoing {

  private MultifdOutgoing() {}

  /**
   * Sends RAM, and no device state: what a QEMU started with {@code -S -incoming} accepts.
   *
   * @see #send(MultifdOutgoingSpec, QemuStreamSpec, Flux, Flux, Connection, List)
   */
  public static Mono<Void> send(
      MultifdOutgoingSpec spec,
      QemuStreamSpec stream,
      Flux<PageBatch> pages,
      Connection main,
      List<? extends Connection> channels) {
    Flux<TransportBuffer> end =
        Flux.defer(
            () -> {
              try (QemuStreamWriter writer = new QemuStreamWriter()) {
                return Flux.just(TransportBuffer.of(writer.endOfStream()));
              }
            });
    return send(spec, stream, pages, end, main, channels);
  }

  /**
   * Sends RAM and what comes after it.
   *
   * @param spec what was agreed upon with the destination
   * @param stream the machine and its blocks; its section size and compression mean nothing here
   * @param pages what the destination is to load, each page after its older versions
   * @param tail what goes over the main channel behind the RAM: the devices' state and the end
   * @param main the connection that QEMU accepted first; up to 7.2 that makes it the main one
   * @param channels the others, one for each of QEMU's {@code multifd-channels}
   * @return completes when all was handed to the operating system
   * @throws IllegalArgumentException if there are no channels or too many
   */
  public static Mono<Void> send(
      MultifdOutgoingSpec spec,
      QemuStreamSpec stream,
      Flux<PageBatch> pages,
      Flux<TransportBuffer> tail,
      Connection main,
      List<? extends Connection> channels) {
    List<Connection> others = List.copyOf(channels);
    MultifdFormat.requireChannels(others.size());
    return Mono.defer(
        () -> {
          Distribution distribution = new Distribution(spec, stream, others.size(), pages);
          List<Mono<Void>> sends = new ArrayList<>();
          Flux<TransportBuffer> onMain = buffers(distribution.main()).concatWith(tail);
          sends.add(send(main, onMain, distribution.main(), "the main channel"));
          for (int i = 0; i < others.size(); i++) {
            OutgoingLane lane = distribution.channel(i);
            Flux<OutgoingItem> packets = lane.transform(encoder(spec, distribution));
            TransportBuffer init = TransportBuffer.of(new MultifdInit(spec.uuid(), i).encode());
            Flux<TransportBuffer> bytes = Flux.concat(Mono.just(init), buffers(packets));
            sends.add(send(others.get(i), bytes, lane, "multifd channel " + i));
          }
          return Mono.when(sends);
        });
  }

  private static Mono<Void> send(
      Connection connection, Flux<TransportBuffer> bytes, OutgoingLane lane, String name) {
    return connection
        .send(bytes)
        .then(
            Mono.defer(
                () ->
                    lane.isComplete()
                        ? Mono.empty()
                        : Mono.error(
                            MigrationException.of(
                                Kind.TRANSPORT,
                                "%s (%s) was closed before all was sent"
                                    .formatted(name, connection.peer())))));
  }

  private static Flux<TransportBuffer> buffers(Flux<OutgoingItem> items) {
    return items
        .concatMapIterable(OutgoingItem::buffers, 1)
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
        .doOnDiscard(OutgoingItem.class, OutgoingItem::release);
  }

  private static java.util.function.Function<Flux<OutgoingItem>, Flux<OutgoingItem>> encoder(
      MultifdOutgoingSpec spec, Distribution distribution) {
    Scheduler workers = spec.workers();
    if (workers == null || spec.compression() == MultifdCompression.NONE) {
      return items ->
          Flux.using(
              () -> new Encoder(distribution),
              encoder -> items.map(encoder::apply),
              Encoder::close);
    }
    // One zlib stream has one worker. Frames of zstd can be made by any.
    int parallelism = spec.compression() == MultifdCompression.ZSTD ? 2 : 1;
    Supplier<Encoder> encoders = () -> new Encoder(distribution);
    return OrderedParallelMap.of(
        parallelism, 2, workers, encoders, OutgoingItem::isBatch, OutgoingItem::release);
  }

  /** Makes packets of batches. */
  private static final class Encoder implements OrderedParallelMap.Worker<OutgoingItem> {
    private final Distribution distribution;
    private final MultifdPacketWriter writer;

    Encoder(Distribution distribution) {
      this.distribution = distribution;
      this.writer = distribution.newWriter();
    }

    @Override
    public synchronized OutgoingItem apply(OutgoingItem item) {
      try {
        return item.encode(writer);
      } catch (RuntimeException | Error e) {
        item.release();
        // So that all connections end with the cause, and not with its consequences.
        distribution.fail(e);
        throw e;
      }
    }

    @Override
    public synchronized void close() {
      writer.close();
    }
  }
}
