package io.pageflux.transport.tcp;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connector;
import reactor.core.publisher.Mono;

/** Pageflux over TCP or a Unix domain socket, as the spec says: where to begin. */
public final class SocketTransport {

  private SocketTransport() {}

  /** {@return what connects} See {@link TcpConnector} and {@link UnixConnector}. */
  public static Connector connector(SocketSpec spec) {
    return switch (spec) {
      case TcpSpec tcp -> new TcpConnector(tcp);
      case UnixSpec unix -> new UnixConnector(unix);
    };
  }

  /** {@return what listens} See {@link TcpAcceptor#bind} and {@link UnixAcceptor#bind}. */
  public static Mono<? extends Acceptor> listen(SocketSpec spec) {
    return switch (spec) {
      case TcpSpec tcp -> TcpAcceptor.bind(tcp);
      case UnixSpec unix -> UnixAcceptor.bind(unix);
    };
  }
}
