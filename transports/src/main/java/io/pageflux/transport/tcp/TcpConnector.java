package io.pageflux.transport.tcp;

import io.netty.channel.ChannelOption;
import io.netty.resolver.DefaultAddressResolverGroup;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.List;
import reactor.core.publisher.Mono;
import reactor.netty.DisposableChannel;
import reactor.netty.resources.LoopResources;
import reactor.netty.tcp.TcpClient;

/**
 * Connects over TCP.
 *
 * <p>Each subscription makes a connection of its own; a name with several addresses is tried
 * address by address. Names are looked up by the JDK on a virtual thread.
 *
 * <p>The connector needs no disposal: its threads, daemons named {@code pageflux-connect-*}, end
 * with the last of its connections, unless the spec brought them.
 *
 * <p>A connection buffers, besides what the {@link Connection} says, in the kernel: see {@code
 * net.ipv4.tcp_wmem} and {@code tcp_rmem}. Its send has at most 16 buffers between the source and
 * the kernel, of whatever size the source makes them; a slab pool bounds that further. Its receive
 * holds one buffer of {@link TcpSpec#readBytes()} that nobody has asked for yet.
 *
 * <p>That the peer has closed the connection is noticed after what it had sent before was received,
 * or by a failed write.
 */
public final class TcpConnector implements Connector {

  private final TcpSpec spec;
  private final TcpLoops loops;

  /**
   * Makes a connector; connects to nothing yet.
   *
   * @throws IllegalArgumentException if the spec has no port
   */
  public TcpConnector(TcpSpec spec) {
    if (spec.port() == 0) {
      throw new IllegalArgumentException("a port to connect to is required, but it was 0");
    }
    this.spec = spec;
    this.loops = new TcpLoops("pageflux-connect", spec);
  }

  /** {@return where this connects to, and how} */
  public TcpSpec spec() {
    return spec;
  }

  @Override
  public Mono<Connection> connect() {
    return HostNames.resolve(spec.host())
        .flatMap(this::connectToOneOf)
        .onErrorMap(failure -> TcpFailures.connecting(spec, failure));
  }

  private Mono<Connection> connectToOneOf(List<InetAddress> addresses) {
    Mono<Connection> attempt = connectTo(addresses.getFirst());
    for (InetAddress next : addresses.subList(1, addresses.size())) {
      attempt = attempt.onErrorResume(failure -> connectTo(next));
    }
    return attempt;
  }

  private Mono<Connection> connectTo(InetAddress address) {
    return Mono.using(
            loops::acquire,
            loop -> Connecting.of(client(address, loop), loops, this::connection),
            loop -> loops.release())
        .doOnDiscard(DisposableChannel.class, DisposableChannel::dispose);
  }

  private Connection connection(reactor.netty.Connection connected) {
    return new TcpConnection(
        connected.channel(), TcpFailures.address(connected.channel().remoteAddress()), spec);
  }

  private TcpClient client(InetAddress address, LoopResources loop) {
    InetSocketAddress remote = new InetSocketAddress(address, spec.port());
    TcpClient client =
        TcpClient.newConnection()
            .runOn(loop, spec.nativeTransport())
            // Already resolved. Without this one, reactor-netty starts its global resources.
            .resolver(DefaultAddressResolverGroup.INSTANCE)
            .remoteAddress(() -> remote)
            .option(
                ChannelOption.CONNECT_TIMEOUT_MILLIS,
                Math.toIntExact(Math.max(1, spec.connectTimeout().toMillis())))
            .option(ChannelOption.AUTO_READ, false)
            .option(ChannelOption.TCP_NODELAY, true)
            .option(ChannelOption.SO_KEEPALIVE, true);
    if (spec.sendBufferBytes() > 0) {
      client = client.option(ChannelOption.SO_SNDBUF, spec.sendBufferBytes());
    }
    if (spec.receiveBufferBytes() > 0) {
      client = client.option(ChannelOption.SO_RCVBUF, spec.receiveBufferBytes());
    }
    return client;
  }

  @Override
  public String toString() {
    return "TcpConnector[to " + spec.address() + "]";
  }
}
