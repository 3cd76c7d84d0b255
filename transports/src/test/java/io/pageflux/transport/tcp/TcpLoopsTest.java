package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.netty.channel.Channel;
import io.netty.channel.EventLoop;
import io.netty.channel.socket.nio.NioSocketChannel;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import reactor.netty.resources.LoopResources;

class TcpLoopsTest {

  private static final int PATIENCE_SECONDS = 30;

  private final TcpLoops loops =
      new TcpLoops("pageflux-loops", TcpSpec.loopback(1).withNativeTransport(false));

  @Test
  void loopsLiveAsLongAsAChannelIsOnThem() throws Exception {
    LoopResources used = loops.acquire();
    Channel channel = new NioSocketChannel();
    used.onClient(false).register(channel).sync();
    loops.hold(channel);
    loops.release();
    inTurn(used);
    assertThat(used.isDisposed()).isFalse();
    channel.close().sync();
    end(used);
  }

  @Test
  void loopsLiveUntilTheyHaveDoneWhatTheyWereTold() throws Exception {
    LoopResources used = loops.acquire();
    EventLoop loop = used.onServer(false).next();
    CountDownLatch slow = new CountDownLatch(1);
    Channel channel = new NioSocketChannel();
    // As a channel that was accepted, and is being put on another loop.
    loop.execute(
        () -> {
          waitFor(slow);
          loop.register(channel);
          loops.hold(channel);
        });
    loops.release();
    assertThat(used.isDisposed()).isFalse();
    slow.countDown();
    inTurn(used);
    assertThat(used.isDisposed()).isFalse();
    channel.close().sync();
    end(used);
  }

  @Test
  void eachTimeTheyAreMadeAnew() throws Exception {
    LoopResources first = loops.acquire();
    loops.release();
    end(first);
    LoopResources second = loops.acquire();
    assertThat(second).isNotSameAs(first);
    assertThat(second.isDisposed()).isFalse();
    loops.release();
    end(second);
  }

  /** Waits until all loops have had a turn, and another one for what came of it. */
  private static void inTurn(LoopResources used) {
    for (int i = 0; i < 2; i++) {
      used.onServer(false).forEach(loop -> loop.submit(() -> {}).awaitUninterruptibly());
    }
  }

  private static void end(LoopResources used) throws InterruptedException {
    assertThat(used.onServer(false).terminationFuture().await(PATIENCE_SECONDS, TimeUnit.SECONDS))
        .isTrue();
    assertThat(used.isDisposed()).isTrue();
  }

  private static void waitFor(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
