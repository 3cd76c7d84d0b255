package io.pageflux.transport.tcp;

import io.netty.channel.ChannelOption;
import io.netty.channel.unix.DomainSocketAddress;
import io.pageflux.transport.AcceptQueue;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import java.io.IOException;
import java.nio.file.Path;
import reactor.core.Exceptions;
import reactor.core.publisher.Mono;
import reactor.netty.DisposableServer;
import reactor.netty.resources.LoopResources;
import reactor.netty.tcp.TcpServer;

/**
 * Listens at a Unix domain socket, with Netty's epoll transport.
 *
 * <p>The socket file has the permissions of the spec, by default for its owner only, from the
 * moment it can be seen. It is removed when the acceptor is disposed, unless another one is there
 * by then. A process that was killed leaves it behind; such a file is replaced if nobody listens on
 * it. A file that is no socket is never touched. If several start to listen at a left-behind file
 * in the same instant, one may lose its place to another.
 *
 * <p>All that the {@link TcpAcceptor} says of threads and waiting connections holds here. While it
 * begins to listen, it looks after the file on its event loop.
 */
public final class UnixAcceptor implements Acceptor {

  private final DisposableServer server;
  private final AcceptQueue<Connection> queue;
  private final UnixSpec spec;
  private final SocketFile file;

  private UnixAcceptor(
      DisposableServer server, AcceptQueue<Connection> queue, UnixSpec spec, SocketFile file) {
    this.server = server;
    this.queue = queue;
    this.spec = spec;
    this.file = file;
  }

  /**
   * Listens.
   *
   * @return the acceptor, listening anew for each subscriber, who is to dispose it. Fails with a
   *     {@link io.pageflux.MigrationException} of kind {@code TRANSPORT} whose message names the
   *     path and the reason.
   */
  public static Mono<UnixAcceptor> bind(UnixSpec spec) {
    return Mono.defer(
            () -> {
              UnixFailures.requireNative(spec);
              return listen(spec, SocketFile.unpublished(spec));
            })
        .onErrorMap(failure -> UnixFailures.binding(spec, Exceptions.unwrap(failure)));
  }

  private static Mono<UnixAcceptor> listen(UnixSpec spec, Path unpublished) {
    TcpLoops loops = new TcpLoops("pageflux-accept", spec);
    AcceptQueue<Connection> queue = new AcceptQueue<>(spec::address);
    String peer = "a client of " + spec.address();
    return Mono.using(
            loops::acquire,
            loop ->
                server(spec, unpublished, loop)
                    .doOnChannelInit((observer, accepted, remote) -> loops.hold(accepted))
                    .doOnConnection(
                        accepted -> {
                          Connection connection = new TcpConnection(accepted.channel(), peer, spec);
                          if (!queue.offer(connection)) {
                            connection.dispose();
                          }
                        })
                    .bind()
                    .map(
                        server -> {
                          loops.hold(server.channel());
                          return published(server, queue, spec, unpublished);
                        }),
            loop -> loops.release())
        .doOnDiscard(DisposableServer.class, DisposableServer::dispose)
        .doOnDiscard(UnixAcceptor.class, UnixAcceptor::dispose);
  }

  private static UnixAcceptor published(
      DisposableServer server, AcceptQueue<Connection> queue, UnixSpec spec, Path unpublished) {
    try {
      return new UnixAcceptor(server, queue, spec, SocketFile.publish(unpublished, spec));
    } catch (IOException e) {
      server.channel().close();
      throw Exceptions.propagate(e);
    } catch (RuntimeException | Error e) {
      server.channel().close();
      throw e;
    }
  }

  private static TcpServer server(UnixSpec spec, Path path, LoopResources loop) {
    DomainSocketAddress local = new DomainSocketAddress(path.toString());
    TcpServer server =
        TcpServer.create()
            .runOn(loop, true)
            .bindAddress(() -> local)
            .childOption(ChannelOption.AUTO_READ, false);
    return spec.sendBufferBytes() > 0
        ? server.childOption(ChannelOption.SO_SNDBUF, spec.sendBufferBytes())
        : server;
  }

  @Override
  public Mono<Connection> accept() {
    return queue.accept();
  }

  @Override
  public String address() {
    return spec.address();
  }

  @Override
  public void dispose() {
    queue.close();
    if (server.channel().isOpen()) {
      file.remove();
      server.channel().close();
    }
  }

  @Override
  public String toString() {
    return "UnixAcceptor[" + address() + "]";
  }
}
