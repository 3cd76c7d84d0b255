package io.pageflux.transport.tcp;

import io.netty.channel.ChannelOption;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.resolver.DefaultAddressResolverGroup;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import reactor.core.publisher.Mono;
import reactor.netty.DisposableChannel;
import reactor.netty.resources.LoopResources;
import reactor.netty.tcp.TcpClient;

/**
 * Connects to a Unix domain socket, with Netty's epoll transport.
 *
 * <p>All that the {@link TcpConnector} says of threads, buffers and the end of a connection holds
 * here; but what was sent waits in the sender's kernel buffer only ({@code net.core.wmem_default}).
 */
public final class UnixConnector implements Connector {

  private final UnixSpec spec;
  private final TcpLoops loops;

  /** Makes a connector; connects to nothing yet. */
  public UnixConnector(UnixSpec spec) {
    this.spec = spec;
    this.loops = new TcpLoops("pageflux-connect", spec);
  }

  /** {@return where this connects to, and how} */
  public UnixSpec spec() {
    return spec;
  }

  @Override
  public Mono<Connection> connect() {
    return Mono.defer(
            () -> {
              UnixFailures.requireNative(spec);
              return Mono.using(
                  loops::acquire,
                  loop -> Connecting.of(client(loop), loops, this::connection),
                  loop -> loops.release());
            })
        .doOnDiscard(DisposableChannel.class, DisposableChannel::dispose)
        .onErrorMap(failure -> UnixFailures.connecting(spec, failure));
  }

  private Connection connection(reactor.netty.Connection connected) {
    return new TcpConnection(connected.channel(), spec.address(), spec);
  }

  private TcpClient client(LoopResources loop) {
    DomainSocketAddress remote = new DomainSocketAddress(spec.path().toString());
    TcpClient client =
        TcpClient.newConnection()
            .runOn(loop, true)
            // It has nothing to resolve. Without this one, reactor-netty starts its global
            // resources.
            .resolver(DefaultAddressResolverGroup.INSTANCE)
            .remoteAddress(() -> remote)
            .option(ChannelOption.AUTO_READ, false);
    return spec.sendBufferBytes() > 0
        ? client.option(ChannelOption.SO_SNDBUF, spec.sendBufferBytes())
        : client;
  }

  @Override
  public String toString() {
    return "UnixConnector[to " + spec.address() + "]";
  }
}
