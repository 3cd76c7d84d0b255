package io.pageflux.transport;

import reactor.core.publisher.Mono;

/** Makes connections to one peer. */
@FunctionalInterface
public interface Connector {

  /**
   * {@return a connection, made anew for each subscriber} Fails with a {@link
   * io.pageflux.MigrationException} of kind {@code TRANSPORT} whose message names the address and
   * the reason.
   */
  Mono<? extends Connection> connect();
}
