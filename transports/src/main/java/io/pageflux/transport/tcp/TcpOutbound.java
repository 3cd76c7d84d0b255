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
 * <p>At most {@link #WINDOW} buffers are between the source and the kernel. They go through a queue
 * to a task on the event loop, even if they come on that loop's thread: a source may emit now on
 * one thread, now on another (a slab comes free where Netty releases it), and Netty would let a
 * write made on the loop overtake one that waits for it. The task writes all there are and flushes
 * once, so that small buffers share a system call.
 */
final class TcpOutbound implements CoreSubscriber<TransportBuffer>, ChannelFutureListener {

  /** How many buffers are requested and not yet written, at the most. */
  static final int WINDOW = 16;

  /** Asked for at a time: a request may cost the source a hop to another thread. */
  private static final int REFILL = WINDOW / 4;

  private final Channel channel;
  private final TcpInbound inbound;
  private final String peer;
  private final MonoSink<Void> sink;
  private final ChannelFutureListener onClose = closed -> tellClosed();

  /** Filled by the source, emptied in the drain. */
  private final Queue<TransportBuffer> queue = Queues.<TransportBuffer>unbounded(WINDOW).get();

  private final AtomicInteger wip = new AtomicInteger();

  /** Buffers that are not written yet, and one for the source as long as it has not completed. */
  private final AtomicInteger unfinished = new AtomicInteger(1);

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
    unfinished.incrementAndGet();
    queue.offer(buffer);
    schedule();
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

  private void schedule() {
    if (wip.getAndIncrement() != 0) {
      return;
    }
    try {
      channel.eventLoop().execute(this::drain);
    } catch (RejectedExecutionException e) {
      tellClosed(); // The loop ends after the connection.
      drain();
    }
  }

  private void drain() {
    boolean wrote = false;
    int missed = 1;
    do {
      TransportBuffer buffer;
      while ((buffer = queue.poll()) != null) {
        if (ended.get()) {
          buffer.release();
        } else {
          write(buffer);
          wrote = true;
        }
      }
      missed = wip.addAndGet(-missed);
    } while (missed != 0);
    if (wrote) {
      channel.flush();
    }
  }

  private void write(TransportBuffer buffer) {
    try {
      // From here on Netty releases the buffer, whatever happens.
      channel.write(OutboundBuffers.wrap(channel.alloc(), buffer)).addListener(this);
    } catch (RuntimeException | OutOfMemoryError e) {
      fail(e); // No memory for the copy of a heap buffer.
    }
  }

  @Override
  public void operationComplete(ChannelFuture write) {
    Throwable cause = write.cause();
    if (cause != null) {
      fail(cause);
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

  private void tellClosed() {
    Runnable tell = () -> fail(new ClosedChannelException());
    try {
      // Behind the writes that fail now, which know the reason.
      channel.eventLoop().execute(tell);
    } catch (RejectedExecutionException e) {
      tell.run();
    }
  }

  private void fail(Throwable cause) {
    if (!(cause instanceof ClosedChannelException)) {
      inbound.fail(cause);
    }
    if (end()) {
      cancelUpstream();
      Throwable first = inbound.failure();
      sink.error(TcpFailures.broken(peer, "sending", first == null ? cause : first));
    }
  }

  private boolean end() {
    if (!ended.compareAndSet(false, true)) {
      return false;
    }
    channel.closeFuture().removeListener(onClose);
    schedule(); // to release what is in the queue
    return true;
  }

  private void cancelUpstream() {
    Subscription s = upstream;
    if (s != null) {
      s.cancel();
    }
  }
}
