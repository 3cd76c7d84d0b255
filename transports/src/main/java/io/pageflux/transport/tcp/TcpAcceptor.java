package io.pageflux.transport.tcp;

import io.netty.channel.ChannelOption;
import io.pageflux.transport.AcceptQueue;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.concurrent.atomic.AtomicReference;
import reactor.core.publisher.Mono;
import reactor.netty.DisposableServer;
import reactor.netty.resources.LoopResources;
import reactor.netty.tcp.TcpServer;

/**
 * Listens for connections over TCP.
 *
 * <p>Up to {@link AcceptQueue#MAX_WAITING} connections wait for somebody to accept them; more are
 * closed as they come. Anybody who reaches the address may connect: listen on the loopback address
 * or a trusted network.
 *
 * <p>Its threads, daemons named {@code pageflux-accept-*}, end when it was disposed and the last
 * accepted connection is closed, unless the spec brought them. The connections buffer as those of a
 * {@link TcpConnector} do.
 */
public final class TcpAcceptor implements Acceptor {

  private final DisposableServer server;
  private final AcceptQueue<Connection> queue;
  private final InetSocketAddress bound;

  private TcpAcceptor(DisposableServer server, AcceptQueue<Connection> queue) {
    this.server = server;
    this.queue = queue;
    this.bound = (InetSocketAddress) server.channel().localAddress();
  }

  /**
   * Listens.
   *
   * @return the acceptor, listening anew for each subscriber, who is to dispose it. Fails with a
   *     {@link io.pageflux.MigrationException} of kind {@code TRANSPORT} whose message names the
   *     address and the reason.
   */
  public static Mono<TcpAcceptor> bind(TcpSpec spec) {
    return HostNames.resolve(spec.host())
        .flatMap(addresses -> bind(spec, addresses.getFirst()))
        .onErrorMap(failure -> TcpFailures.binding(spec, failure));
  }

  private static Mono<TcpAcceptor> bind(TcpSpec spec, InetAddress address) {
    TcpLoops loops = new TcpLoops("pageflux-accept", spec);
    AtomicReference<String> at = new AtomicReference<>(spec.address());
    AcceptQueue<Connection> queue = new AcceptQueue<>(at::get);
    return Mono.using(
            loops::acquire,
            loop ->
                server(spec, address, loop)
                    .doOnChannelInit((observer, accepted, remote) -> loops.hold(accepted))
                    .doOnConnection(
                        accepted -> {
                          Connection connection =
                              new TcpConnection(
                                  accepted.channel(),
                                  TcpFailures.address(accepted.channel().remoteAddress()),
                                  spec);
                          if (!queue.offer(connection)) {
                            connection.dispose();
                          }
                        })
                    .bind()
                    .map(
                        server -> {
                          loops.hold(server.channel());
                          TcpAcceptor acceptor = new TcpAcceptor(server, queue);
                          at.set(acceptor.address());
                          return acceptor;
                        }),
            loop -> loops.release())
        .doOnDiscard(DisposableServer.class, DisposableServer::dispose);
  }

  private static TcpServer server(TcpSpec spec, InetAddress address, LoopResources loop) {
    TcpServer server =
        TcpServer.create()
            .runOn(loop, spec.nativeTransport())
            .bindAddress(() -> new InetSocketAddress(address, spec.port()))
            .option(ChannelOption.SO_REUSEADDR, true)
            .childOption(ChannelOption.AUTO_READ, false)
            .childOption(ChannelOption.TCP_NODELAY, true)
            .childOption(ChannelOption.SO_KEEPALIVE, true);
    if (spec.sendBufferBytes() > 0) {
      server = server.childOption(ChannelOption.SO_SNDBUF, spec.sendBufferBytes());
    }
    if (spec.receiveBufferBytes() > 0) {
      // Also on the listening socket: the window is negotiated before a connection is accepted.
      server =
          server
              .option(ChannelOption.SO_RCVBUF, spec.receiveBufferBytes())
              .childOption(ChannelOption.SO_RCVBUF, spec.receiveBufferBytes());
    }
    return server;
  }

  @Override
  public Mono<Connection> accept() {
    return queue.accept();
  }

  /** {@return the port that is listened on, also if port 0 was asked for} */
  public int port() {
    return bound.getPort();
  }

  @Override
  public String address() {
    return TcpFailures.address(bound);
  }

  @Override
  public void dispose() {
    queue.close();
    if (server.channel().isOpen()) {
      server.channel().close();
    }
  }

  @Override
  public String toString() {
    return "TcpAcceptor[" + address() + "]";
  }
}
