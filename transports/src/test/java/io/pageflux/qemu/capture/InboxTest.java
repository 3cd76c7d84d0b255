package io.pageflux.qemu.capture;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.transport.Connection;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

class InboxTest {

  /** A transport that takes one buffer ahead. */
  private final InMemoryTransport transport = InMemoryTransport.create(1);

  private final AtomicInteger made = new AtomicInteger();
  private final AtomicInteger released = new AtomicInteger();
  private final Inbox inbox = new Inbox();

  private Connection accepted() throws InterruptedException {
    Connection connection =
        Objects.requireNonNull(Mono.<Connection>from(transport.connector().connect()).block());
    inbox.accept(transport.acceptor());
    return connection;
  }

  private Flux<TransportBuffer> buffers(int count) {
    return Flux.range(0, count)
        .map(
            i -> {
              made.incrementAndGet();
              return new TransportBuffer(ByteBuffer.allocate(1), released::incrementAndGet);
            });
  }

  private TransportBuffer next() throws InterruptedException {
    return Objects.requireNonNull(inbox.next(0));
  }

  @Test
  void noMoreIsAskedForThanIsTaken() throws InterruptedException {
    accepted().send(buffers(1000)).subscribe(v -> {}, e -> {});
    for (int taken = 0; taken < 50; taken++) {
      assertThat(made.get()).isBetween(taken, taken + 3);
      next().release();
    }
    inbox.close();
    assertThat(released).hasValue(made.get());
  }

  @Test
  void whatWaitsComesBeforeTheEnd() throws InterruptedException {
    Connection qemu = accepted();
    qemu.send(buffers(1)).subscribe();
    qemu.dispose();
    assertThat(inbox.isEnded()).isFalse();
    next().release();
    assertThat(inbox.next(1_000_000_000_000L)).isNull();
    assertThat(inbox.isEnded()).isTrue();
    inbox.close();
  }

  @Test
  void aReasonToEndComesBeforeWhatWaits() throws InterruptedException {
    accepted().send(buffers(1)).subscribe();
    inbox.fail(new IllegalStateException("the first"));
    inbox.fail(new IllegalStateException("the second"));
    assertThatThrownBy(() -> inbox.next(0)).hasMessage("the first");
    inbox.close();
    assertThat(released).hasValue(1);
  }

  @Test
  void whoConnectsTooLateIsClosed() throws InterruptedException {
    inbox.fail(new IllegalStateException("stopped"));
    assertThatThrownBy(() -> inbox.accept(transport.acceptor())).hasMessage("stopped");
    inbox.close();
    // Nobody waits any more: this one is for the next.
    Connection next =
        Objects.requireNonNull(Mono.<Connection>from(transport.connector().connect()).block());
    assertThat(transport.acceptor().accept().block()).isNotNull();
    next.dispose();
  }
}
