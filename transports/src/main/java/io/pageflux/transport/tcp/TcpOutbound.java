package io.pageflux.transport.tcp;

import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelFutureListener;
import io.pageflux.transport.TransportBuffer;
import java.nio.channels.ClosedChannelException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.MonoSink;
import reactor.core.publisher.Operators;
import reactor.util.context.Context;

/**
 * What a connection sends: writes each buffer as it comes, and asks for more as they are written.
 *
 * <p>reactor-netty's own {@code send()} is not used: it completes normally when the peer closes in
 * the middle, does not end while a silent source waits on a closed connection, and holds 128
 * buffers.
 *
 * <p>At most {@link #WINDOW} buffers are between the source and the kernel. A flush is a task of
 * its own behind the writes, one for all that came before it runs, so that small buffers share a
 * system call.
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

  private final AtomicBoolean flushing = new AtomicBoolean();
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
    try {
      // From here on Netty releases the buffer, whatever happens.
      channel.write(OutboundBuffers.wrap(channel.alloc(), buffer)).addListener(this);
      if (flushing.compareAndSet(false, true)) {
        channel.eventLoop().execute(this::flush);
      }
    } catch (RuntimeException e) {
      // No memory to copy a heap buffer, or the event loop has ended.
      fail(TcpFailures.broken(peer, SENDING, e));
    }
  }

  private void flush() {
    flushing.set(false); // first: what is written from now on needs another one
    channel.flush();
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
    return true;
  }

  private void cancelUpstream() {
    Subscription s = upstream;
    if (s != null) {
      s.cancel();
    }
  }
}
