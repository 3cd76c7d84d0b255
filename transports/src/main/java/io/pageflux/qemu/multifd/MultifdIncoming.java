package io.pageflux.qemu.multifd;

import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.transport.TransportBuffer;
import java.util.List;
import reactor.core.publisher.Flux;
import reactor.core.scheduler.Schedulers;

/**
 * Reads the main channel and the multifd channels of a QEMU that sends, as one stream of elements.
 *
 * <p>The elements are the main channel's, in their order, with {@link QemuElement.Pages} of the
 * channels in between (whose offset is that in their channel). Whoever applies them one after the
 * other gets it right: no element from behind a sync point, on whichever connection, comes before
 * all that is in front of it on all connections. Between two sync points the connections come in
 * any order, as QEMU allows, since no page is sent twice there.
 *
 * <p><b>Demand:</b> each connection is read one element ahead. A slow subscriber is felt by the
 * peer on every connection.
 *
 * <p><b>Ordering and threading:</b> signals are serial, on the threads of the transport, the
 * workers or the subscriber.
 *
 * <p><b>Memory bound:</b> one slab for each connection, and one received buffer; what the readers
 * hold ({@link MultifdPacketReader}, {@link io.pageflux.qemu.stream.QemuStreamReader}). The pool
 * must have a slab for each connection and one more; and as many again as the subscriber keeps
 * batches for itself, else nothing moves.
 *
 * <p><b>Discard and cancel:</b> batches and buffers that were not passed on are released, on
 * completion, error and cancel. The connections themselves are the caller's to dispose.
 *
 * <p><b>Errors:</b> {@link io.pageflux.MigrationException}: those of the readers; {@code PROTOCOL}
 * if the connections are not one main channel and each of the channels once, or if pages come after
 * the last sync point; {@code TRANSPORT} if a channel ends without a SYNC that is due; {@code
 * TIMEOUT} if one says nothing for {@link MultifdIncomingSpec#syncTimeout()} while others wait for
 * it at a sync point, or after the main channel has ended.
 */
public final class MultifdIncoming {

  private MultifdIncoming() {}

  /**
   * {@return the elements of a migration}
   *
   * @param spec what was agreed upon with the peer
   * @param connections what comes over each connection: one main channel and {@code
   *     spec.channels()} others, in any order. All of them must be there: QEMU begins when all are.
   * @param pool where batches go
   * @throws IllegalArgumentException if there are more or fewer connections, or too few slabs
   */
  public static Flux<QemuElement> read(
      MultifdIncomingSpec spec, List<Flux<TransportBuffer>> connections, SlabPool pool) {
    if (connections.size() != spec.channels() + 1) {
      throw new IllegalArgumentException(
          "%d connections, but %d channels and the main one were agreed upon"
              .formatted(connections.size(), spec.channels()));
    }
    if (pool.capacity() < connections.size() + 1) {
      throw new IllegalArgumentException(
          "%d connections need at least %d slabs, but the pool has %d"
              .formatted(connections.size(), connections.size() + 1, pool.capacity()));
    }
    return new SyncMerge(spec, List.copyOf(connections), pool, Schedulers.parallel());
  }
}
