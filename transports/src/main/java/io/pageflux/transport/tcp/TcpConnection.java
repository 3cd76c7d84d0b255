package io.pageflux.transport.tcp;

import io.netty.channel.Channel;
import io.netty.channel.unix.UnixChannel;
import io.pageflux.internal.Linux;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.net.InetSocketAddress;
import java.nio.channels.ClosedChannelException;
import java.util.OptionalLong;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.netty.FutureMono;
import reactor.netty.NettyPipeline;

/**
 * A connection over TCP or a Unix domain socket.
 *
 * <p>Made on the channel's event loop before anything was read from it. Whoever makes it has the
 * loops {@linkplain TcpLoops#hold held}.
 */
final class TcpConnection implements Connection {

  private static final String HANDLER = "pageflux.inbound";

  private final Channel channel;
  private final String peer;
  private final TcpInbound inbound;
  private final AtomicBoolean sendTaken = new AtomicBoolean();

  TcpConnection(Channel channel, String peer, SocketSpec spec) {
    this.channel = channel;
    this.peer = peer;
    this.inbound = new TcpInbound(channel, peer);
    channel.config().setAutoRead(false);
    channel.config().setRecvByteBufAllocator(new InboundReads(inbound, spec.readBytes()));
    channel.pipeline().addBefore(NettyPipeline.ReactiveBridge, HANDLER, inbound);
  }

  @Override
  public Mono<Void> send(Flux<TransportBuffer> buffers) {
    return Mono.create(
        sink -> {
          if (!sendTaken.compareAndSet(false, true)) {
            sink.error(new IllegalStateException("send() may be subscribed to once"));
            return;
          }
          TcpOutbound outbound = new TcpOutbound(channel, inbound, peer, sink);
          sink.onCancel(outbound::cancel);
          // For what an operator of the source holds when it is cancelled.
          Flux<TransportBuffer> source =
              buffers.doOnDiscard(TransportBuffer.class, TransportBuffer::release);
          try {
            channel.eventLoop().execute(() -> source.subscribe(outbound));
          } catch (RejectedExecutionException e) {
            sink.error(TcpFailures.broken(peer, "sending", new ClosedChannelException()));
          }
        });
  }

  @Override
  public Flux<TransportBuffer> receive() {
    return inbound.receive();
  }

  @Override
  public OptionalLong sendBusyNanos() {
    // Native transports know their descriptor. If it is closed meanwhile, the call fails, or says
    // something about another connection, once.
    return channel instanceof UnixChannel unix
            && channel.remoteAddress() instanceof InetSocketAddress
            && channel.isOpen()
        ? Linux.tcpSendBusyNanos(unix.fd().intValue())
        : OptionalLong.empty();
  }

  @Override
  public String peer() {
    return peer;
  }

  @Override
  public void dispose() {
    inbound.dispose();
    if (channel.isOpen()) {
      channel.close();
    }
  }

  @Override
  public Mono<Void> onDispose() {
    return FutureMono.from(channel.closeFuture());
  }

  @Override
  public String toString() {
    return "TcpConnection[to " + peer + "]";
  }
}
