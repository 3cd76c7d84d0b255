package io.pageflux.qemu.qmp;

import io.netty.bootstrap.Bootstrap;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelOption;
import io.netty.channel.socket.nio.NioDomainSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.netty.resources.LoopResources;

/**
 * Connects, on an event loop that lives as long as the connection.
 *
 * <p>The channel is made here and not by reactor-netty's client, which takes a Unix domain socket
 * for the address of a native transport only; the JDK has them everywhere.
 */
final class QmpConnector {

  /** How long the thread may take to finish what it does. */
  private static final Duration LAST_TASKS = Duration.ofSeconds(5);

  private QmpConnector() {}

  static Mono<QmpClient> connect(QmpSpec spec) {
    return Mono.defer(
        () -> {
          Sinks.One<QmpClient> ready = Sinks.one();
          QmpSession session = new QmpSession(spec, ready);
          AtomicBoolean decided = new AtomicBoolean();
          return address(spec)
              .doOnNext(address -> connect(spec, address, session))
              .then(ready.asMono())
              .doOnNext(client -> decided.set(true))
              // Not when whoever has got the client cancels what has nothing more to give.
              .doOnCancel(
                  () -> {
                    if (decided.compareAndSet(false, true)) {
                      session.close();
                    }
                  });
        });
  }

  private static void connect(QmpSpec spec, SocketAddress address, QmpSession session) {
    LoopResources loop = LoopResources.create("pageflux-qmp", 1, 1, true, false);
    ChannelFuture connecting =
        new Bootstrap()
            .group(loop.onClient(false))
            .channel(
                spec.address() instanceof QmpAddress.Unix
                    ? NioDomainSocketChannel.class
                    : NioSocketChannel.class)
            .option(
                ChannelOption.CONNECT_TIMEOUT_MILLIS,
                Math.clamp(spec.timeout().toMillis(), 1, Integer.MAX_VALUE))
            .handler(session)
            .connect(address);
    connecting.addListener(
        done -> {
          if (!done.isSuccess()) {
            session.notConnected(done.cause());
          }
        });
    connecting
        .channel()
        .closeFuture()
        .addListener(closed -> loop.disposeLater(Duration.ZERO, LAST_TASKS).subscribe());
  }

  /** A name is looked up on a virtual thread, where it may take its time. */
  private static Mono<SocketAddress> address(QmpSpec spec) {
    if (!(spec.address() instanceof QmpAddress.Tcp tcp)) {
      return Mono.just(spec.address().socketAddress());
    }
    return Mono.create(
        sink ->
            Thread.ofVirtual()
                .name("pageflux-lookup")
                .start(
                    () -> {
                      try {
                        InetAddress address = InetAddress.getByName(tcp.host());
                        sink.success(new InetSocketAddress(address, tcp.port()));
                      } catch (UnknownHostException | RuntimeException e) {
                        sink.error(QmpFailures.connecting(tcp, e));
                      }
                    }));
  }
}
