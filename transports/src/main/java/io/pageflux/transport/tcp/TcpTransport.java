package io.pageflux.transport.tcp;

import reactor.core.publisher.Mono;
import reactor.netty.resources.LoopResources;

/** Pageflux over TCP: where to begin. */
public final class TcpTransport {

  private TcpTransport() {}

  /** {@return what connects to the spec's address} See {@link TcpConnector}. */
  public static TcpConnector connector(TcpSpec spec) {
    return new TcpConnector(spec);
  }

  /** {@return what listens on the spec's address} See {@link TcpAcceptor#bind}. */
  public static Mono<TcpAcceptor> listen(TcpSpec spec) {
    return TcpAcceptor.bind(spec);
  }

  /** {@return whether epoll can be used here; NIO serves else} */
  public static boolean hasNativeTransport() {
    return LoopResources.hasNativeSupport();
  }
}
