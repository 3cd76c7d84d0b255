package io.pageflux.transport.tcp;

import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.pageflux.transport.TransportBuffer;
import java.nio.channels.ClosedChannelException;
import java.util.Queue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.MonoSink;
import reactor.core.publisher.Operators;
import reactor.util.concurrent.Queues;
import reactor.util.context.Context;

/**
 * What a connection sends: writes each buffer as it comes, and asks for more as they are written.
 *
 * <p>reactor-netty's own {@code send()} is not used: it completes normally when the peer closes in
 * the middle, does not end while a silent source waits on a closed connection, and holds 128
 * buffers.
 *
 * <p>At most {@link #WINDOW} buffers are between the source and the kernel. They are written by a
 * task on the event loop, whichever thread the source is on: a write from the event loop itself
 * would overtake one that another thread has handed to it a moment before. One task writes all that
 * is queued and flushes once, so that small buffers share a system call.
 */
final class TcpOutbound implements CoreSubscriber<TransportBuffer>, ChannelFutureListener {

  /** How many buffers are requested and not yet written, at the most. */
  static final int WINDOW = 32;

  private static final String SENDING = "sending";

  /** Asked for at a time: a request may cost the source a hop to another thread. */
  private static final int REFILL = WINDOW / 4;

  private final Channel channel;
  private final TcpInbound inbound;
  private final String peer;
  private final MonoSink<Void> sink;
  private final ChannelFutureListener onClose = this::channelClosed;

  /** Writes that have not ended, and one for the source as long as it has not completed. */
  private final AtomicInteger unfinished = new AtomicInteger(1);

  private final Queue<TransportBuffer> queue = Queues.<TransportBuffer>get(WINDOW).get();

  /** Not zero while a task that writes what is queued is due or at work. */
  private final AtomicInteger writing = new AtomicInteger();

  private final AtomicBoolean ended = new AtomicBoolean();
  private volatile @Nullable Subscription upstream;
  private int written; // since the last request; only touched on the event loop

  TcpOutbound(Channel channel, TcpInbound inbound, String peer, MonoSink<Void> sink) {
    this.channel = channel;
    this.inbound = inbound;
    this.peer = peer;
    this.sink = sink;
  }

  @Override
  public Context currentContext() {
    return Context.of(sink.contextView());
  }

  @Override
  public void onSubscribe(Subscription s) {
    if (!Operators.validate(upstream, s)) {
      return;
    }
    upstream = s;
    channel.closeFuture().addListener(onClose);
    if (ended.get()) {
      s.cancel();
    } else {
      s.request(WINDOW);
    }
  }

  @Override
  public void onNext(TransportBuffer buffer) {
    if (ended.get()) {
      buffer.release();
      return;
    }
    unfinished.incrementAndGet();
    if (queue.offer(buffer)) {
      scheduleWriting();
    } else {
      buffer.release();
      fail(new IllegalStateException("the source emits more than was requested"));
    }
  }

  private void scheduleWriting() {
    if (writing.getAndIncrement() != 0) {
      return;
    }
    try {
      channel.eventLoop().execute(this::writeQueued);
    } catch (RejectedExecutionException e) {
      // The event loop has ended, so nobody else is there to empty the queue.
      fail(TcpFailures.broken(peer, SENDING, new ClosedChannelException()));
      releaseQueued();
    }
  }

  private void writeQueued() {
    int missed = 1;
    do {
      for (TransportBuffer next = queue.poll(); next != null; next = queue.poll()) {
        if (ended.get()) {
          next.release();
        } else {
          write(next);
        }
      }
      missed = writing.addAndGet(-missed);
    } while (missed != 0);
    channel.flush();
  }

  private void write(TransportBuffer buffer) {
    try {
      // From here on Netty releases the buffer, whatever happens.
      channel.write(OutboundBuffers.wrap(channel.alloc(), buffer)).addListener(this);
    } catch (RuntimeException e) {
      // No memory to copy a heap buffer.
      fail(TcpFailures.broken(peer, SENDING, e));
    }
  }

  private void releaseQueued() {
    for (TransportBuffer left = queue.poll(); left != null; left = queue.poll()) {
      left.release();
    }
  }

  @Override
  public void operationComplete(ChannelFuture write) {
    Throwable cause = write.cause();
    if (cause != null) {
      if (!(cause instanceof ClosedChannelException)) {
        inbound.fail(cause);
      }
      fail(TcpFailures.broken(peer, SENDING, cause));
      return;
    }
    finished();
    if (++written >= REFILL && !ended.get()) {
      int more = written;
      written = 0;
      Subscription s = upstream;
      if (s != null) {
        s.request(more);
      }
    }
  }

  private void finished() {
    if (unfinished.decrementAndGet() == 0 && end()) {
      sink.success();
    }
  }

  private void channelClosed(ChannelFuture closed) {
    // Behind the failed writes, which know the reason.
    Runnable tell = () -> fail(TcpFailures.broken(peer, SENDING, new ClosedChannelException()));
    try {
      channel.eventLoop().execute(tell);
    } catch (RejectedExecutionException e) {
      tell.run();
    }
  }

  @Override
  public void onError(Throwable t) {
    if (end()) {
      sink.error(t);
    } else {
      Operators.onErrorDropped(t, currentContext());
    }
  }

  @Override
  public void onComplete() {
    finished();
  }

  void cancel() {
    if (end()) {
      cancelUpstream();
    }
  }

  private void fail(Throwable t) {
    if (end()) {
      cancelUpstream();
      sink.error(t);
    }
  }

  private boolean end() {
    if (!ended.compareAndSet(false, true)) {
      return false;
    }
    channel.closeFuture().removeListener(onClose);
    if (!queue.isEmpty()) {
      scheduleWriting(); // which releases them now
    }
    return true;
  }

  private void cancelUpstream() {
    Subscription s = upstream;
    if (s != null) {
      s.cancel();
    }
  }
}
