package io.pageflux.transport.tcp;

import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.pageflux.transport.TransportBuffer;
import java.util.Queue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Operators;
import reactor.util.concurrent.Queues;

/**
 * What a connection receives: the end of its pipeline, and the subscription of who receives.
 *
 * <p>reactor-netty's own {@code receive()} is not used, for three reasons. It throws away what was
 * read before somebody subscribed if the peer closes meanwhile. It ends silently when this side
 * closes. And with epoll, once the peer has closed, Netty reads all that the kernel holds (32 MiB
 * and more), demand or not; only the allocator of the reads can stop that, see {@link
 * InboundReads}.
 *
 * <p>A read is asked for whenever the queue is empty, also without demand: a close is noticed only
 * by reading (NIO). So one buffer at the most waits in the queue.
 *
 * <p>As elsewhere, whoever changes something calls {@link #schedule()}, and one thread at a time
 * drains: the event loop's, or once that has ended with the connection, the caller's.
 */
final class TcpInbound extends ChannelInboundHandlerAdapter implements Subscription {

  /** Whether the event loop looks after the channel, see {@link #pause()}. */
  private enum Registration {
    ACTIVE,
    PAUSING,
    PAUSED
  }

  private final Channel channel;
  private final String peer;
  private final AtomicBoolean taken = new AtomicBoolean();
  private final AtomicLong demand = new AtomicLong();
  private final AtomicInteger wip = new AtomicInteger();

  /** Filled by the event loop, emptied in the drain. */
  private final Queue<TransportBuffer> queue = Queues.<TransportBuffer>unbounded(8).get();

  private volatile @Nullable CoreSubscriber<? super TransportBuffer> receiver;
  private volatile @Nullable Throwable failure;
  private volatile boolean closed; // the channel: nothing comes any more
  private volatile boolean cancelled;
  private volatile boolean disposed;
  private volatile boolean reading; // asked for, and not come yet
  private volatile Registration registration = Registration.ACTIVE;
  private boolean ended; // only touched in the drain

  TcpInbound(Channel channel, String peer) {
    this.channel = channel;
    this.peer = peer;
  }

  Flux<TransportBuffer> receive() {
    return new Flux<>() {
      @Override
      public void subscribe(CoreSubscriber<? super TransportBuffer> actual) {
        if (!taken.compareAndSet(false, true)) {
          Operators.error(actual, new IllegalStateException("receive() may be subscribed to once"));
          return;
        }
        actual.onSubscribe(TcpInbound.this);
        receiver = actual;
        schedule();
      }
    };
  }

  /** Says why the connection broke; the receiver gets the error when the channel closes. */
  void fail(Throwable cause) {
    if (failure == null) {
      failure = cause;
    }
  }

  /** {@return why the connection broke, or null if it was closed in an orderly way, or is open} */
  @Nullable Throwable failure() {
    return failure;
  }

  /** This side closes: what was not delivered is released, and the receiver ends. */
  void dispose() {
    disposed = true;
    schedule();
  }

  /** {@return whether what is read now has a place: somebody wants it, or it waits alone} */
  boolean wantsRead() {
    return demand.get() > 0 || queue.isEmpty();
  }

  @Override
  public void request(long n) {
    // With demand left, the loop is at it already and looks at the demand again afterwards.
    if (Operators.validate(n) && demand.getAndAccumulate(n, Operators::addCap) == 0) {
      schedule();
    }
  }

  @Override
  public void cancel() {
    cancelled = true;
    schedule();
  }

  @Override
  public void handlerAdded(ChannelHandlerContext ctx) {
    // Behind the exception that says why, if there is one.
    channel
        .closeFuture()
        .addListener(
            future -> {
              try {
                channel.eventLoop().execute(this::channelClosed);
              } catch (RejectedExecutionException e) {
                channelClosed();
              }
            });
    schedule();
  }

  private void channelClosed() {
    closed = true;
    schedule();
  }

  @Override
  public void channelRead(ChannelHandlerContext ctx, Object message) {
    reading = false;
    ByteBuf bytes = (ByteBuf) message;
    queue.offer(new TransportBuffer(bytes.nioBuffer(), bytes::release));
    schedule();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext ctx, Throwable cause) {
    if (cause == InboundReads.NO_DEMAND) {
      pause();
    } else {
      fail(cause);
      ctx.close();
    }
  }

  /**
   * Takes the channel off its event loop until there is demand. With nothing more to wait for,
   * Netty (4.2.18) has removed the socket from epoll and cannot put it back; but registering the
   * channel anew does.
   */
  private void pause() {
    if (registration != Registration.ACTIVE) {
      return;
    }
    registration = Registration.PAUSING;
    channel
        .deregister()
        .addListener(
            future -> {
              registration = Registration.PAUSED;
              schedule();
            });
  }

  private void schedule() {
    if (wip.getAndIncrement() != 0) {
      return;
    }
    if (channel.eventLoop().inEventLoop()) {
      drain();
      return;
    }
    try {
      channel.eventLoop().execute(this::drain);
    } catch (RejectedExecutionException e) {
      drain(); // The loop has ended, so nobody else is here.
    }
  }

  private void drain() {
    int missed = 1;
    do {
      deliver();
      missed = wip.addAndGet(-missed);
    } while (missed != 0);
  }

  private void deliver() {
    CoreSubscriber<? super TransportBuffer> actual = receiver;
    boolean last = closed; // before the queue is looked at
    while (actual != null && demand.get() > 0 && !disposed && !cancelled) {
      TransportBuffer buffer = queue.poll();
      if (buffer == null) {
        break;
      }
      actual.onNext(buffer);
      if (demand.get() != Long.MAX_VALUE) {
        demand.decrementAndGet();
      }
    }
    if (disposed || cancelled) {
      TransportBuffer buffer;
      while ((buffer = queue.poll()) != null) {
        buffer.release();
      }
    } else if (queue.isEmpty() && !last && channel.isActive()) {
      read();
    }
    if (actual != null && !ended && (disposed || (last && queue.isEmpty()))) {
      ended = true;
      Throwable broken = failure;
      if (cancelled) {
        return;
      } else if (disposed || broken == null) {
        actual.onComplete();
      } else {
        actual.onError(TcpFailures.broken(peer, "receiving", broken));
      }
    }
  }

  private void read() {
    if (registration == Registration.PAUSED) {
      registration = Registration.ACTIVE;
      channel.eventLoop().register(channel).addListener(future -> schedule());
    } else if (registration == Registration.ACTIVE && !reading && channel.isRegistered()) {
      reading = true;
      channel.read();
    }
  }
}
