package io.pageflux.transport.fault;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;
import reactor.test.scheduler.VirtualTimeScheduler;

class FaultyStreamTest {

  private final AtomicInteger out = new AtomicInteger();

  private static Duration time(Fault.Kind kind) {
    return kind == Fault.Kind.DELAY ? Duration.ofHours(1) : Duration.ZERO;
  }

  private Flux<TransportBuffer> buffers(int bytes) {
    return Flux.range(0, 10)
        .map(
            i -> {
              out.incrementAndGet();
              return new TransportBuffer(ByteBuffer.allocateDirect(bytes), out::decrementAndGet);
            });
  }

  @Test
  void whatIsHeldJustWhenSomebodyCancelsIsReleased() {
    for (Fault.Kind kind : Fault.Kind.values()) {
      for (int bytes : new int[] {30, 50, 100, 250}) {
        Fault fault = new Fault(kind, Place.afterBytes(100), time(kind));
        BaseSubscriber<TransportBuffer> subscriber =
            new BaseSubscriber<>() {
              @Override
              protected void hookOnNext(TransportBuffer buffer) {
                buffer.release();
              }
            };
        FaultyStream stream =
            new FaultyStream(
                fault,
                () -> {},
                Sinks.<Void>empty().asMono(),
                VirtualTimeScheduler.create(),
                subscriber::cancel);
        stream.through(buffers(bytes)).subscribe(subscriber);
        subscriber.cancel();
        assertThat(out).as("%s of buffers of %d", fault, bytes).hasValue(0);
      }
    }
  }
}
