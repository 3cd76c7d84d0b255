package io.pageflux.channel;

import io.pageflux.MigrationException;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.WireReader;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.time.Duration;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.publisher.SynchronousSink;
import reactor.core.scheduler.Scheduler;
import reactor.util.concurrent.Queues;

/**
 * A connection on which records are exchanged: one migration's conversation with its peer.
 *
 * <p>There is one stream of records in each direction. The outgoing one is merged from the
 * session's script ("data") and from what is said in between ("control": acknowledgements,
 * progress, signs of life, a last word), because the writer numbers and checks all of them in one
 * sequence.
 *
 * <p><b>Memory bound:</b> batches are bounded by the session's pool; control records by {@value
 * #MAX_CONTROL_BACKLOG}, beyond which the peer does not read and the channel fails.
 */
public final class WireChannel {

  private static final int MAX_CONTROL_BACKLOG = 1024;

  /** How long a last word may take to be sent, and the peer to hear it, before the line is cut. */
  private static final Duration LAST_WORD = Duration.ofSeconds(2);

  private final Connection connection;
  private final Duration peerTimeout;
  private final Scheduler timer;
  private final Consumer<Throwable> onFailure;
  private final WireReader reader = new WireReader();
  private final WireWriter writer = new WireWriter();

  private final Sinks.Many<WireRecord> control =
      // For any number of threads at once, which the queue and the sink's draining allow. A lock
      // around the emission would be held while the peer's side runs, where the transport has no
      // threads of its own; and the peer's lock may be what it needs.
      Sinks.unsafe()
          .many()
          .unicast()
          .onBackpressureBuffer(Queues.<WireRecord>unboundedMultiproducer().get());
  private final AtomicInteger controlBacklog = new AtomicInteger();
  private final Sinks.Empty<Void> stopData = Sinks.empty();
  private final Sinks.Empty<Void> sendingEnded = Sinks.empty();
  private final Sinks.Empty<Void> receivingEnded = Sinks.empty();
  private final Sinks.Empty<Void> peerSaidLast = Sinks.empty();

  private volatile long heardNanos;
  // Copies of what reader and writer count, for other threads.
  private volatile long bytesRead;
  private volatile long bytesWritten;
  // Only where records are written.
  private boolean greeted;
  private volatile boolean over;
  private volatile boolean busy;
  private volatile boolean sending;
  private volatile boolean receiving;
  private boolean readerFailed; // only where records are read

  /**
   * Makes a channel.
   *
   * @param onFailure learns of a fault in what the peer sends, at once
   */
  public WireChannel(
      Connection connection, Duration peerTimeout, Scheduler timer, Consumer<Throwable> onFailure) {
    this.connection = connection;
    this.onFailure = onFailure;
    this.peerTimeout = peerTimeout;
    this.timer = timer;
    this.heardNanos = now();
  }

  private long now() {
    return timer.now(TimeUnit.NANOSECONDS);
  }

  public String peer() {
    return connection.peer();
  }

  /** Bytes that were made of records so far. */
  public long bytesWritten() {
    return bytesWritten;
  }

  /** Bytes that records were made of so far. */
  public long bytesRead() {
    return bytesRead;
  }

  /** See {@link Connection#sendBusyNanos()}. */
  public OptionalLong sendBusyNanos() {
    return connection.sendBusyNanos();
  }

  /** From here on batches of pages are expected, and their bytes go to slabs of the pool. */
  public void expectPages(RamLayout layout, SlabPool pool, long features) {
    reader.expectPages(layout, pool, features);
  }

  /**
   * Sends the script, and control records in between, until the conversation ends. To be subscribed
   * to once.
   *
   * @param script what the session has to say; it does not complete, so that signs of life go on
   *     after its last record. Pages' batches are released when they were written
   * @param shaper limits the bandwidth
   */
  public Mono<Void> send(
      Flux<WireRecord> script, Function<Flux<TransportBuffer>, Flux<TransportBuffer>> shaper) {
    Flux<WireRecord> data =
        new StoppableScript(
            script.onErrorResume(
                e -> {
                  onFailure.accept(e);
                  return Flux.never(); // the connection is still needed for the last word
                }),
            stopData.asMono());
    Flux<WireRecord> said = control.asFlux().doOnNext(r -> controlBacklog.decrementAndGet());
    Flux<TransportBuffer> buffers =
        Flux.merge(2, said, data)
            .<TransportBuffer>handle(this::write)
            .transform(shaper)
            .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
            .doOnDiscard(WireRecord.Pages.class, pages -> pages.batch().release())
            .doOnDiscard(PageBatch.class, PageBatch::release);
    return Mono.defer(
            () -> {
              sending = true;
              return connection.send(buffers).doFinally(signal -> sendingEnded.tryEmitEmpty());
            })
        .onErrorResume(this::afterHearingThePeerOut);
  }

  /**
   * A peer that gives up says why, and closes. The writing side may notice the latter before the
   * reading side has read the former, which is what people want to know.
   */
  private Mono<Void> afterHearingThePeerOut(Throwable e) {
    return Mono.firstWithSignal(receivingEnded.asMono(), Mono.delay(LAST_WORD, timer).then())
        .then(Mono.error(e));
  }

  private void write(WireRecord record, SynchronousSink<TransportBuffer> sink) {
    if (record instanceof WireRecord.Hello) {
      greeted = true;
    }
    if (greeted) {
      sink.next(writer.write(record));
      bytesWritten = writer.bytesWritten();
    }
    // Else a sign of life, or a last word to somebody who has not been greeted: he would not
    // understand it.
  }

  /** Says something in between. May be called from any thread; nothing is sent after the end. */
  public void say(WireRecord record) {
    if (controlBacklog.incrementAndGet() > MAX_CONTROL_BACKLOG) {
      controlBacklog.decrementAndGet();
      throw MigrationException.of(
          MigrationException.Kind.TIMEOUT,
          "%s does not read: %d records wait for it".formatted(peer(), MAX_CONTROL_BACKLOG));
    }
    if (control.tryEmitNext(record).isFailure()) {
      controlBacklog.decrementAndGet();
    }
  }

  /**
   * Says something that is worth saying only if nothing else waits to be said.
   *
   * @return whether it was said
   */
  public boolean sayIfIdle(WireRecord record) {
    if (controlBacklog.get() > 0) {
      return false;
    }
    say(record);
    return true;
  }

  private void completeControl() {
    control.tryEmitComplete();
  }

  /**
   * The peer's records. To be subscribed to once. Ends in error when the peer closes the
   * connection, for the session says when a conversation is over.
   */
  public Flux<WireRecord> receive() {
    return connection
        .receive()
        .doOnSubscribe(s -> receiving = true)
        .concatMap(this::records, 2)
        .concatWith(Mono.defer(() -> Mono.error(closedByPeer())))
        .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
        .doOnDiscard(WireRecord.Pages.class, pages -> pages.batch().release())
        .doFinally(signal -> receivingEnded.tryEmitEmpty());
  }

  private Flux<WireRecord> records(TransportBuffer chunk) {
    heardNanos = now();
    return Flux.generate(
        () -> chunk,
        (c, sink) -> {
          // When the conversation is over, input is read only so that both can hear the other's
          // last
          // word: a connection that is closed with unread input takes what was sent down with it.
          WireRecord record = null;
          if (over) {
            listenForLastWord(c);
          } else {
            record = read(c);
          }
          if (record == null) {
            c.release(); // and not only after everybody has heard of the end
            sink.complete();
          } else {
            sink.next(record);
          }
          return c;
        },
        TransportBuffer::release);
  }

  private @Nullable WireRecord read(TransportBuffer chunk) {
    try {
      WireRecord record = reader.read(chunk.bytes());
      bytesRead = reader.bytesRead();
      if (record instanceof WireRecord.Failure) {
        peerSaidLast.tryEmitEmpty();
      }
      return record;
    } catch (RuntimeException | VirtualMachineError e) {
      readerFailed = true;
      // No error of this flux: it would cancel the connection.
      endOver(e instanceof MigrationException fault ? ofPeer(fault) : e);
      return null;
    }
  }

  private void listenForLastWord(TransportBuffer chunk) {
    try {
      if (!readerFailed && reader.readLastWord(chunk.bytes())) {
        peerSaidLast.tryEmitEmpty();
      }
    } catch (RuntimeException e) {
      readerFailed = true; // the peer's end will do
    }
  }

  /** A fault of the stream, which the reader knows, and of whose stream, which it does not. */
  private MigrationException ofPeer(MigrationException fault) {
    return MigrationException.of(fault.kind(), peer() + ": " + MigrationText.of(fault), fault);
  }

  /**
   * Says that what the peer sent is at fault. The session learns of it, and nothing that the peer
   * sends is taken any more.
   */
  public void endOver(Throwable e) {
    over = true;
    onFailure.accept(e);
  }

  /** {@return whether what the peer sends is not taken any more} */
  public boolean isOver() {
    return over;
  }

  /**
   * Does some work for which the peer has to wait. It is not listened to meanwhile, so it is not to
   * be blamed for its silence.
   */
  public Mono<Void> busy(Mono<Void> work) {
    return Mono.defer(
            () -> {
              busy = true;
              return work;
            })
        .doFinally(
            signal -> {
              heardNanos = now();
              busy = false;
            });
  }

  private MigrationException closedByPeer() {
    try {
      if (!over) { // else the reader may have failed
        reader.end();
      }
    } catch (MigrationException e) {
      return ofPeer(e);
    }
    return MigrationException.of(
        MigrationException.Kind.TRANSPORT,
        "%s closed the connection before the migration was complete".formatted(peer()));
  }

  /** Ends in error when the peer has said nothing for too long. Never completes. */
  public Mono<Void> watchPeer() {
    return ticks()
        .concatMap(
            tick ->
                busy || now() - heardNanos <= peerTimeout.toNanos()
                    ? Mono.<Void>empty()
                    : Mono.<Void>error(
                        MigrationException.of(
                            MigrationException.Kind.TIMEOUT,
                            "%s has said nothing for %s"
                                .formatted(peer(), MigrationText.of(peerTimeout)))))
        .then();
  }

  /** Gives signs of life now and then. Never completes. */
  public Mono<Void> keepAlive() {
    return ticks().map(tick -> sayIfIdle(new WireRecord.KeepAlive())).then();
  }

  private Flux<Long> ticks() {
    Duration period = peerTimeout.dividedBy(4);
    return Flux.interval(
            period.compareTo(Duration.ofSeconds(1)) < 0 ? period : Duration.ofSeconds(1), timer)
        .onBackpressureDrop();
  }

  /**
   * Ends the conversation in failure: no more data, a last word to the peer, and the line is cut
   * when the peer has closed it, has said its own last word (both may hang up at once, and would
   * wait for each other), or has had its time to hear.
   *
   * @param tell whether the peer is told; of no use if it was the peer who failed
   */
  public Mono<Void> hangUp(MigrationException reason, boolean tell) {
    return Mono.defer(
        () -> {
          over = true;
          stopData.tryEmitEmpty();
          if (!tell || !sending) {
            return cut();
          }
          sayLast(new WireRecord.Failure(reason.kind(), MigrationText.of(reason)));
          Mono<Void> heard = Mono.firstWithSignal(receivingEnded.asMono(), peerSaidLast.asMono());
          return Mono.when(sendingEnded.asMono(), heard)
              .timeout(LAST_WORD, Mono.empty(), timer)
              .then(cut());
        });
  }

  /** Says something after which nothing is said. */
  public void sayLast(WireRecord record) {
    try {
      say(record);
    } catch (MigrationException e) {
      // The peer does not read. It will find the connection closed.
    }
    completeControl();
  }

  /**
   * Ends the conversation in success: what was said is sent, and the line is cut.
   *
   * @param awaitPeer whether the peer cuts it first, having heard the last word
   */
  public Mono<Void> finish(boolean awaitPeer) {
    return Mono.defer(
        () -> {
          completeControl();
          stopData.tryEmitEmpty();
          Mono<Void> ended =
              awaitPeer
                  ? Mono.when(sendingEnded.asMono(), receivingEnded.asMono())
                  : sendingEnded.asMono();
          return ended.timeout(LAST_WORD, Mono.empty(), timer).then(cut());
        });
  }

  /** Cuts the line. Completes when both directions have ended, and frees a half-read record. */
  private Mono<Void> cut() {
    return Mono.defer(
        () -> {
          connection.dispose();
          return Mono.when(
                  connection.onDispose().onErrorComplete(),
                  sending ? sendingEnded.asMono() : Mono.empty(),
                  receiving ? receivingEnded.asMono() : Mono.empty())
              .timeout(LAST_WORD, Mono.empty(), timer)
              .doFinally(signal -> reader.close());
        });
  }
}
