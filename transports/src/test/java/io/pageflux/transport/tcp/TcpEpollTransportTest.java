package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import reactor.core.publisher.Flux;

@EnabledOnOs(OS.LINUX)
class TcpEpollTransportTest extends TcpTransportTests {

  @Override
  TcpSpec spec() {
    return TcpSpec.loopback(0);
  }

  @Override
  String threadKind() {
    return "epoll";
  }

  @Test
  void theSystemSaysForHowLongTheLinkWasBusy() {
    InMemoryTransport.Pair pair = connect();
    long start = System.nanoTime();
    assertThat(pair.first().sendBusyNanos()).hasValue(0);
    pair.second().receive().subscribe(TransportBuffer::release);
    byte[] piece = new byte[1 << 20];
    pair.first()
        .send(Flux.range(0, 1024).map(i -> new TransportBuffer(ByteBuffer.wrap(piece), () -> {})))
        .block(PATIENCE);
    // It goes in steps: those who send for longer than one have been busy.
    assertThat(pair.first().sendBusyNanos().orElseThrow())
        .isBetween(1L, System.nanoTime() - start + 10_000_000);
    pair.first().dispose();
    pair.first().onDispose().block(PATIENCE);
    assertThat(pair.first().sendBusyNanos()).isEmpty();
  }
}
