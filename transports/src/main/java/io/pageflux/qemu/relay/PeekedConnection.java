package io.pageflux.qemu.relay;

import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Operators;
import reactor.core.publisher.Sinks;

/**
 * A connection whose first bytes are looked at before anybody else gets them, all of them.
 *
 * <p><b>Demand:</b> one buffer at a time until there are enough bytes, and then what the receiver
 * asks for.
 *
 * <p><b>Memory bound:</b> the buffers with the first bytes: one, or as many as there are bytes to
 * look at.
 *
 * <p><b>Discard:</b> they are released with the connection, unless they were handed on.
 */
final class PeekedConnection implements Connection {

  private final Connection connection;
  private final int firstBytes;
  private final Sinks.One<ByteBuffer> first = Sinks.one();
  private final Reading reading = new Reading();

  /**
   * @param firstBytes how many are to be looked at
   */
  PeekedConnection(Connection connection, int firstBytes) {
    this.connection = connection;
    this.firstBytes = firstBytes;
  }

  /**
   * {@return a copy of the first bytes; nothing if the peer closes before it has said so many} To
   * be subscribed to once, and before {@link #receive()}.
   */
  Mono<ByteBuffer> peek() {
    return first.asMono().doOnSubscribe(s -> connection.receive().subscribe(reading));
  }

  /** {@return all that the peer sends} To be subscribed to once the first bytes are known. */
  @Override
  public Flux<TransportBuffer> receive() {
    return Flux.defer(() -> Flux.fromIterable(reading.takeHeld()))
        .concatWith(Flux.from(reading.rest()))
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release);
  }

  @Override
  public Mono<Void> send(Flux<TransportBuffer> buffers) {
    return connection.send(buffers);
  }

  @Override
  public OptionalLong sendBusyNanos() {
    return connection.sendBusyNanos();
  }

  @Override
  public String peer() {
    return connection.peer();
  }

  @Override
  public void dispose() {
    connection.dispose();
    reading.dispose();
  }

  @Override
  public Mono<Void> onDispose() {
    return connection.onDispose();
  }

  /** Holds the first buffers, and passes on what comes later. */
  private final class Reading implements CoreSubscriber<TransportBuffer> {

    // All guarded by this object's monitor.
    private List<TransportBuffer> held = new ArrayList<>(1);
    private int heldBytes;
    private boolean disposed;
    private @Nullable Subscription upstream;
    private @Nullable CoreSubscriber<? super TransportBuffer> receiver;
    private boolean attached; // the receiver knows its subscription
    private boolean ended;
    private @Nullable Throwable failure;

    @Override
    public void onSubscribe(Subscription subscription) {
      synchronized (this) {
        upstream = subscription;
      }
      subscription.request(1);
    }

    @Override
    public void onNext(TransportBuffer buffer) {
      CoreSubscriber<? super TransportBuffer> to = heldOrReceiver(buffer);
      if (to != null) {
        to.onNext(buffer);
        return;
      }
      ByteBuffer enough = firstBytes();
      if (enough != null) {
        first.tryEmitValue(enough);
      } else {
        upstream().request(1);
      }
    }

    private synchronized @Nullable CoreSubscriber<? super TransportBuffer> heldOrReceiver(
        TransportBuffer buffer) {
      if (receiver == null) {
        if (disposed) {
          buffer.release();
        } else {
          held.add(buffer);
          heldBytes += buffer.bytes().remaining();
        }
      }
      return receiver;
    }

    private synchronized @Nullable ByteBuffer firstBytes() {
      if (heldBytes < firstBytes) {
        return null;
      }
      ByteBuffer copy = ByteBuffer.allocate(firstBytes);
      for (TransportBuffer buffer : held) {
        ByteBuffer bytes = buffer.bytes().duplicate();
        copy.put(bytes.limit(bytes.position() + Math.min(bytes.remaining(), copy.remaining())));
      }
      return copy.flip();
    }

    private synchronized Subscription upstream() {
      return upstream == null ? Operators.emptySubscription() : upstream;
    }

    @Override
    public void onComplete() {
      end(null);
    }

    @Override
    public void onError(Throwable e) {
      end(e);
    }

    private void end(@Nullable Throwable e) {
      synchronized (this) {
        ended = true;
        failure = e;
      }
      if (e == null) {
        first.tryEmitEmpty();
      } else {
        first.tryEmitError(e);
      }
      tellOfTheEnd();
    }

    private void tellOfTheEnd() {
      CoreSubscriber<? super TransportBuffer> to;
      Throwable e;
      synchronized (this) {
        to = ended && attached ? receiver : null;
        e = failure;
      }
      if (to != null) {
        if (e == null) {
          to.onComplete();
        } else {
          to.onError(e);
        }
      }
    }

    synchronized List<TransportBuffer> takeHeld() {
      List<TransportBuffer> taken = held;
      held = List.of();
      return taken;
    }

    /** What comes after the buffers that are held: nothing of it was asked for before. */
    Flux<TransportBuffer> rest() {
      return new Flux<>() {
        @Override
        public void subscribe(CoreSubscriber<? super TransportBuffer> actual) {
          synchronized (Reading.this) {
            receiver = actual;
          }
          actual.onSubscribe(upstream());
          synchronized (Reading.this) {
            attached = true;
          }
          tellOfTheEnd();
        }
      };
    }

    void dispose() {
      List<TransportBuffer> left;
      synchronized (this) {
        disposed = true;
        left = receiver == null ? takeHeld() : List.of();
      }
      left.forEach(TransportBuffer::release);
    }
  }
}
