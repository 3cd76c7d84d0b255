package io.pageflux.transport;

import java.util.OptionalLong;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A connection to the other side of a migration: bytes in order, both ways.
 *
 * <p>Neither the completion of {@link #send} nor that of {@link #receive} says that anything was
 * delivered: the protocol above has its own end and its own acknowledgements.
 */
public interface Connection {

  /**
   * Sends buffers. May be subscribed to once.
   *
   * <p><b>Demand:</b> requests a bounded number of buffers at a time and more as they have been
   * written; a slow peer is felt as demand that does not come.
   *
   * <p><b>Ordering and threading:</b> in the order of the source. The source is subscribed to, and
   * buffers are released, on threads of the transport, which must not be blocked.
   *
   * <p><b>Memory bound:</b> the transport copies nothing that lies in direct buffers; what it holds
   * on to is what it has requested.
   *
   * <p><b>Discard and cancel:</b> every buffer that was received is released, whether it was
   * written or not. Cancelling stops at once and leaves the stream in the middle of a buffer:
   * dispose the connection afterwards.
   *
   * <p><b>Errors:</b> those of the source, and a {@link io.pageflux.MigrationException} of kind
   * {@code TRANSPORT} if the connection breaks. A connection that was closed may end it normally.
   *
   * @return completes when all buffers have been handed to the operating system
   */
  Mono<Void> send(Flux<TransportBuffer> buffers);

  /**
   * Receives what the peer sends, in pieces as they come. May be subscribed to once.
   *
   * <p><b>Demand:</b> nothing is read from the connection without demand, but for one read burst.
   *
   * <p><b>Ordering and threading:</b> in order, on a thread of the transport, which must not be
   * blocked.
   *
   * <p><b>Memory bound:</b> one read burst, at most 4 MiB.
   *
   * <p><b>Discard and cancel:</b> buffers that were not delivered are released. Each delivered one
   * is the subscriber's to release.
   *
   * <p><b>Errors:</b> a {@link io.pageflux.MigrationException} of kind {@code TRANSPORT} if the
   * connection breaks. If the peer closes it, the flux completes.
   */
  Flux<TransportBuffer> receive();

  /**
   * {@return for how many nanoseconds, since the connection was made, the link has been busy with
   * what was sent: there was something that the peer's system had not confirmed, and it was not the
   * peer that took no more; empty if the system does not say, or there is no connection any more}
   *
   * <p>It goes in coarse steps, some milliseconds each. For any thread.
   */
  default OptionalLong sendBusyNanos() {
    return OptionalLong.empty();
  }

  /** {@return the other side's address, for messages} */
  String peer();

  /** Closes the connection, at once, in both directions. May be called again. */
  void dispose();

  /** {@return completes when the connection is closed, whoever closed it} */
  Mono<Void> onDispose();
}
