package io.pageflux.transport.fault;

import io.pageflux.transport.TransportBuffer;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * What passes in one direction, and what happens to it.
 *
 * <p>One buffer is asked for at a time, so nothing is ever queued here: whatever ends the stream
 * finds one buffer at the most, the one that is held, and releases it. The end of a stream that has
 * fallen silent is not told of before this side closes the connection.
 */
final class FaultyStream {

  /** What ends the stream from within. */
  private static final class Ended extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Ended() {
      super("the stream ends here", null, false, false);
    }
  }

  private final Fault fault;
  private final RecordScan scan;
  private final Runnable breakConnection;
  private final Mono<Void> closedHere;
  private final Scheduler timer;
  private final Runnable striking;
  private boolean struck;
  private boolean stalled;
  private volatile boolean ended;
  private volatile boolean silent;
  private volatile boolean closed;
  private volatile @Nullable HeldBuffer held;

  /**
   * Makes one.
   *
   * @param breakConnection closes the connection
   * @param closedHere completes when this side has closed it
   * @param striking called when the place has come
   */
  FaultyStream(
      Fault fault,
      Runnable breakConnection,
      Mono<Void> closedHere,
      Scheduler timer,
      Runnable striking) {
    this.fault = fault;
    boolean flips = fault.kind() == Fault.Kind.FLIP;
    // To have seen the byte, one has to look behind it.
    this.scan = new RecordScan(flips ? Place.afterBytes(fault.place().count() + 1) : fault.place());
    this.breakConnection = breakConnection;
    this.closedHere = closedHere;
    this.timer = timer;
    this.striking = striking;
  }

  /** Whether the stream was made to end early. */
  boolean hasEnded() {
    return ended;
  }

  Flux<TransportBuffer> through(Flux<TransportBuffer> source) {
    if (fault.kind() == Fault.Kind.NONE) {
      return source;
    }
    return Flux.defer(
            () -> {
              Disposable watch = closedHere.subscribe(nothing -> {}, e -> {}, this::close);
              return begin(source).doFinally(signal -> watch.dispose());
            })
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release);
  }

  /** Nobody may ever ask for what is held, but who has closed the connection is done with it. */
  private void close() {
    closed = true;
    HeldBuffer current = held;
    if (current != null) {
      current.close();
    }
  }

  private HeldBuffer hold(TransportBuffer buffer) {
    HeldBuffer holding = new HeldBuffer(buffer);
    held = holding;
    if (closed) {
      holding.close();
    }
    return holding;
  }

  /** What is told of the end of a stream: nothing, if the other side could not be heard. */
  Mono<Void> unlessSilent(Mono<Void> end) {
    return Mono.defer(() -> silent ? closedHere : end);
  }

  private Flux<TransportBuffer> begin(Flux<TransportBuffer> source) {
    if (fault.place().isStart() && fault.kind() != Fault.Kind.FLIP) {
      hasCome();
      silent = isSilencing();
      if (fault.kind() == Fault.Kind.END) {
        ended = true;
        return Flux.empty();
      }
      if (fault.kind() == Fault.Kind.CUT) {
        breakConnection.run();
      }
    }
    return source
        .concatMap(this::pass, 0)
        .onErrorResume(
            e ->
                e instanceof Ended
                    ? Flux.empty()
                    : unlessSilent(Mono.error(e)).thenMany(Flux.empty()))
        .concatWith(unlessSilent(Mono.empty()).thenMany(Flux.empty()));
  }

  private void hasCome() {
    struck = true;
    striking.run();
  }

  private boolean isSilencing() {
    return fault.kind() == Fault.Kind.SWALLOW
        || fault.kind() == Fault.Kind.STALL && fault.time().isZero();
  }

  private Flux<TransportBuffer> pass(TransportBuffer buffer) {
    if (struck) {
      return after(hold(buffer), false);
    }
    int index = scan.find(buffer.bytes());
    if (index < 0) {
      return hold(buffer);
    }
    hasCome();
    if (fault.kind() == Fault.Kind.FLIP) {
      return hold(flipped(buffer, index - 1));
    }
    silent = isSilencing();
    if (index == buffer.bytes().remaining()) {
      return hold(buffer).concatWith(Flux.defer(this::strike));
    }
    if (index == 0) {
      return after(hold(buffer), true);
    }
    TransportBuffer[] parts = split(buffer, index);
    HeldBuffer rest = new HeldBuffer(parts[1]);
    return hold(parts[0])
        .concatWith(
            Flux.defer(
                () -> {
                  held = rest;
                  return after(rest, true);
                }))
        .doFinally(signal -> rest.drop());
  }

  /** What happens to a buffer that comes after the place; first, if it is the first of them. */
  private Flux<TransportBuffer> after(HeldBuffer buffer, boolean first) {
    return switch (fault.kind()) {
      case CUT, END, SWALLOW -> {
        buffer.drop();
        yield first ? Flux.defer(this::strike) : Flux.empty();
      }
      case STALL -> {
        if (fault.time().isZero()) {
          yield closedHere.thenMany(Flux.<TransportBuffer>empty()).doFinally(s -> buffer.drop());
        }
        boolean stalls = !stalled;
        stalled = true;
        yield stalls ? delayed(buffer) : buffer;
      }
      case DELAY -> delayed(buffer);
      case NONE, FLIP -> buffer;
    };
  }

  private Flux<TransportBuffer> delayed(HeldBuffer buffer) {
    return Mono.firstWithSignal(Mono.delay(fault.time(), timer).then(), closedHere)
        .thenMany(buffer)
        .doOnCancel(buffer::drop);
  }

  private Flux<TransportBuffer> strike() {
    return switch (fault.kind()) {
      case CUT -> {
        breakConnection.run();
        yield Flux.empty();
      }
      case END -> {
        ended = true;
        yield Flux.error(new Ended());
      }
      default -> Flux.empty();
    };
  }

  private TransportBuffer flipped(TransportBuffer buffer, int index) {
    ByteBuffer copy = ByteBuffer.allocateDirect(buffer.bytes().remaining());
    copy.put(buffer.bytes().duplicate()).flip();
    copy.put(index, (byte) (copy.get(index) ^ 1 << fault.place().count() % 8));
    buffer.release();
    return TransportBuffer.of(copy);
  }

  /** Two buffers of one, which is released with the last of them. */
  private static TransportBuffer[] split(TransportBuffer buffer, int index) {
    ByteBuffer bytes = buffer.bytes();
    int at = bytes.position();
    AtomicInteger held = new AtomicInteger(2);
    Runnable release =
        () -> {
          if (held.decrementAndGet() == 0) {
            buffer.release();
          }
        };
    return new TransportBuffer[] {
      new TransportBuffer(bytes.slice(at, index), release),
      new TransportBuffer(bytes.slice(at + index, bytes.remaining() - index), release)
    };
  }
}
