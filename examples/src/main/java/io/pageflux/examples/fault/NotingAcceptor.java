package io.pageflux.examples.fault;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.util.function.Consumer;
import reactor.core.publisher.Mono;

/**
 * Tells of each connection that is accepted.
 *
 * @param real accepts them
 * @param accepted is told
 */
record NotingAcceptor(Acceptor real, Consumer<Connection> accepted) implements Acceptor {

  @Override
  public Mono<? extends Connection> accept() {
    return real.accept().doOnNext(accepted);
  }

  @Override
  public String address() {
    return real.address();
  }

  @Override
  public void dispose() {
    real.dispose();
  }
}
