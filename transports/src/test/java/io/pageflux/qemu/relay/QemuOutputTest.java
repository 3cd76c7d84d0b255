package io.pageflux.qemu.relay;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

class QemuOutputTest {

  private final AtomicInteger released = new AtomicInteger();
  private final AtomicInteger told = new AtomicInteger();
  private final QemuOutput output = new QemuOutput(told::incrementAndGet);
  private final List<TransportBuffer> written = new ArrayList<>();

  private boolean isComplete(Mono<Void> mono) {
    return mono.toFuture().isDone();
  }

  private Mono<Void> put() {
    return output.put(ByteBuffer.allocate(10), released::incrementAndGet);
  }

  @Test
  void noMoreThanAFewBuffersAreUnderWay() {
    output.buffers().subscribe(written::add);
    assertThat(isComplete(put())).isTrue();
    assertThat(isComplete(put())).isTrue();
    var third = put().toFuture();
    assertThat(third).isNotDone();
    written.removeFirst().release();
    assertThat(third).isDone();
    assertThat(output.written()).isOne();
    assertThat(told).hasValue(1);
  }

  @Test
  void itIsDrainedWhenAllBuffersHaveLeft() {
    output.buffers().subscribe(written::add);
    put();
    put();
    var drained = output.drained().toFuture();
    written.removeFirst().release();
    assertThat(drained).isNotDone();
    written.removeFirst().release();
    assertThat(drained).isDone();
    assertThat(isComplete(output.drained())).isTrue();
    assertThat(released).hasValue(2);
  }

  @Test
  void whatIsPutAfterTheEndIsReleased() {
    output.buffers().subscribe().dispose();
    assertThat(isComplete(put())).isTrue();
    assertThat(released).hasValue(1);
  }
}
