package io.pageflux.transport;

import io.pageflux.MigrationException;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;
import reactor.core.publisher.Operators;
import reactor.util.concurrent.Queues;
import reactor.util.context.Context;

/**
 * One direction of a connection inside one JVM: a queue of a few buffers between a source and a
 * receiver.
 *
 * <p>Whoever changes something (a buffer came, demand came, somebody stopped) sets it and calls
 * {@link #drain()}. One thread at a time works there, the others leave it a note in {@link #wip}
 * and go; so signals to the receiver and to the sender are serial, and a buffer that races with a
 * stop is either delivered or released by the same loop.
 */
final class Lane {

  private final int prefetch;
  private final String to;

  private final AtomicBoolean sendTaken = new AtomicBoolean();
  private final AtomicBoolean receiveTaken = new AtomicBoolean();
  private final AtomicLong demand = new AtomicLong();
  private final AtomicInteger wip = new AtomicInteger();

  /** Filled by the source's thread, emptied only in the drain. Holds prefetch buffers at most. */
  private final Queue<TransportBuffer> queue;

  private volatile @Nullable Sender sender;
  private volatile @Nullable CoreSubscriber<? super TransportBuffer> receiver;
  private volatile boolean receiveCancelled;
  private volatile boolean closed;

  // Only touched in the drain:
  private int takenSinceRequest;
  private boolean receiverEnded;

  Lane(int prefetch, String to) {
    this.prefetch = prefetch;
    this.to = to;
    this.queue = Queues.<TransportBuffer>get(prefetch).get();
  }

  Mono<Void> send(Flux<TransportBuffer> buffers) {
    return Mono.create(
        sink -> {
          if (!sendTaken.compareAndSet(false, true)) {
            sink.error(new IllegalStateException("send() may be subscribed to once"));
            return;
          }
          Sender subscriber = new Sender(sink);
          sink.onCancel(subscriber::stop);
          // For what an operator of the source holds when it is cancelled.
          buffers
              .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
              .subscribe(subscriber);
        });
  }

  Flux<TransportBuffer> receive() {
    return new Flux<>() {
      @Override
      public void subscribe(CoreSubscriber<? super TransportBuffer> actual) {
        if (!receiveTaken.compareAndSet(false, true)) {
          Operators.error(actual, new IllegalStateException("receive() may be subscribed to once"));
          return;
        }
        actual.onSubscribe(new Demand());
        receiver = actual;
        drain();
      }
    };
  }

  void close() {
    closed = true;
    drain();
  }

  private void drain() {
    if (wip.getAndIncrement() != 0) {
      return;
    }
    int missed = 1;
    do {
      deliver();
      settle();
      missed = wip.addAndGet(-missed);
    } while (missed != 0);
  }

  /** Whether what is in the queue, or comes yet, will not be delivered. */
  private boolean isStopped() {
    Sender from = sender;
    return closed || receiveCancelled || (from != null && (from.stopped || from.error != null));
  }

  private void deliver() {
    CoreSubscriber<? super TransportBuffer> actual = receiver;
    long wanted = actual == null ? 0 : demand.get();
    long given = 0;
    while (actual != null && given < wanted && !isStopped()) {
      TransportBuffer buffer = queue.poll();
      if (buffer == null) {
        break;
      }
      given++;
      actual.onNext(buffer);
    }
    if (wanted != Long.MAX_VALUE) {
      demand.addAndGet(-given);
    }
    takenSinceRequest += (int) given;
    if (isStopped()) {
      TransportBuffer buffer;
      while ((buffer = queue.poll()) != null) {
        buffer.release();
      }
    }
  }

  /** Tells both ends what they have to know, and asks the source for more. */
  private void settle() {
    Sender from = sender;
    CoreSubscriber<? super TransportBuffer> actual = receiver;
    if (closed && actual != null && !receiverEnded && !receiveCancelled) {
      receiverEnded = true;
      actual.onComplete();
    }
    if (from != null && !from.ended) {
      boolean complete = from.completed; // before the queue is looked at
      if (from.stopped) {
        from.end(null);
      } else if (closed) {
        from.end(
            MigrationException.of(
                MigrationException.Kind.TRANSPORT,
                "the connection to " + to + " was closed while sending"));
      } else if (from.error != null) {
        from.end(from.error);
      } else if (complete && queue.isEmpty()) {
        from.end(null);
      } else if (takenSinceRequest >= (prefetch + 1) / 2) {
        int more = takenSinceRequest;
        takenSinceRequest = 0;
        from.request(more);
      }
    }
  }

  private final class Demand implements Subscription {
    @Override
    public void request(long n) {
      if (Operators.validate(n)) {
        demand.accumulateAndGet(n, Operators::addCap);
        drain();
      }
    }

    @Override
    public void cancel() {
      receiveCancelled = true;
      drain();
    }
  }

  /** What subscribes to the source of a send. */
  private final class Sender implements CoreSubscriber<TransportBuffer> {

    private final MonoSink<Void> sink;
    private @Nullable Subscription upstream;
    private volatile boolean completed;
    private volatile @Nullable Throwable error;
    private volatile boolean stopped;
    private boolean ended; // only touched in the drain

    Sender(MonoSink<Void> sink) {
      this.sink = sink;
    }

    @Override
    public Context currentContext() {
      return Context.of(sink.contextView());
    }

    @Override
    public void onSubscribe(Subscription s) {
      if (Operators.validate(upstream, s)) {
        upstream = s;
        sender = this;
        drain();
        s.request(prefetch);
      }
    }

    @Override
    public void onNext(TransportBuffer buffer) {
      if (!queue.offer(buffer)) {
        buffer.release();
        error = new IllegalStateException("the source of a send emits more than was requested");
      }
      drain();
    }

    @Override
    public void onError(Throwable t) {
      error = t;
      drain();
    }

    @Override
    public void onComplete() {
      completed = true;
      drain();
    }

    void stop() {
      stopped = true;
      drain();
    }

    void request(int n) {
      Subscription s = upstream;
      if (s != null) {
        s.request(n);
      }
    }

    void end(@Nullable Throwable failure) {
      ended = true;
      Subscription s = upstream;
      if (s != null && !completed) {
        s.cancel();
      }
      if (failure != null) {
        sink.error(failure);
      } else if (!stopped) {
        sink.success();
      }
    }
  }
}
