package io.pageflux.transport;

import reactor.core.publisher.Mono;

/** A place at which peers may connect. */
public interface Acceptor {

  /**
   * {@return the next connection that a peer makes} A subscriber waits until there is one; a
   * connection that nobody has asked for waits, and is closed with the acceptor. Fails with a
   * {@link io.pageflux.MigrationException} of kind {@code TRANSPORT} when the acceptor is closed.
   */
  Mono<? extends Connection> accept();

  /** {@return the address to connect to, for messages} */
  String address();

  /** Accepts nothing more; accepted connections stay. May be called again. */
  void dispose();
}
