package io.pageflux.transport.tcp;

import io.netty.channel.Channel;
import io.pageflux.transport.Connection;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.netty.tcp.TcpClient;

/**
 * Connects, and closes what becomes connected just when nobody wants it any more: reactor-netty
 * (1.3) drops a connection that it has made while its subscriber was cancelling.
 *
 * <p>Exactly one of handing over and cancelling wins.
 */
final class Connecting {

  private enum State {
    OPEN,
    HANDED_OVER,
    CANCELLED
  }

  private final AtomicReference<State> state = new AtomicReference<>(State.OPEN);
  private volatile @Nullable Channel channel;

  private final TcpLoops loops;

  private Connecting(TcpLoops loops) {
    this.loops = loops;
  }

  /**
   * {@return a connection, made anew for each subscriber}
   *
   * @param loops those of the client
   */
  static Mono<Connection> of(
      TcpClient client, TcpLoops loops, Function<reactor.netty.Connection, Connection> wrapping) {
    return Mono.defer(() -> new Connecting(loops).connect(client, wrapping));
  }

  private Mono<Connection> connect(
      TcpClient client, Function<reactor.netty.Connection, Connection> wrapping) {
    return client
        .doOnChannelInit((observer, made, address) -> begun(made))
        .connect()
        .<Connection>handle(
            (connected, sink) -> {
              if (state.compareAndSet(State.OPEN, State.HANDED_OVER)) {
                sink.next(wrapping.apply(connected));
              } else {
                connected.channel().close();
              }
            })
        .doOnCancel(this::cancelled);
  }

  private void begun(Channel made) {
    loops.hold(made);
    channel = made;
    if (state.get() == State.CANCELLED) {
      made.close();
    }
  }

  private void cancelled() {
    if (state.compareAndSet(State.OPEN, State.CANCELLED)) {
      Channel begun = channel;
      if (begun != null) {
        begun.close();
      }
    }
  }
}
