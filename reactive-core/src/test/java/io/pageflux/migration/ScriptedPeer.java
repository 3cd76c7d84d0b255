package io.pageflux.migration;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.WireRecord;
import io.pageflux.wire.WireWriter;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.util.concurrent.Queues;

/**
 * The other side of a migration, played by a test: says what it is told to, whatever it hears.
 *
 * <p>It closes when the side under test has nothing more to say, so that nobody waits for it.
 */
public final class ScriptedPeer implements Connection {

  private final BiConsumer<ScriptedPeer, Integer> onRecord;
  private final WireWriter writer = new WireWriter();
  private final Sinks.Many<TransportBuffer> lines =
      Sinks.unsafe()
          .many()
          .unicast()
          .onBackpressureBuffer(Queues.<TransportBuffer>unboundedMultiproducer().get());
  private final Sinks.Empty<Void> closed = Sinks.empty();
  private final ByteArrayOutputStream heard = new ByteArrayOutputStream();
  private int understood;
  public final AtomicInteger unreleased = new AtomicInteger();

  /** A peer that answers each record of a type that it hears. */
  public ScriptedPeer(BiConsumer<ScriptedPeer, Integer> onRecord) {
    this.onRecord = onRecord;
  }

  /** A peer that plays bytes, whatever it hears. */
  public static ScriptedPeer playing(byte[] bytes) {
    return new ScriptedPeer((peer, type) -> {}).sayBytes(bytes);
  }

  BiConsumer<ScriptedPeer, Integer> onRecord() {
    return onRecord;
  }

  public ScriptedPeer say(WireRecord... records) {
    for (WireRecord record : records) {
      sayBytes(WireBytes.bytes(writer.write(record)));
    }
    return this;
  }

  public ScriptedPeer sayBytes(byte[] bytes) {
    unreleased.incrementAndGet();
    lines.tryEmitNext(
        new TransportBuffer(ByteBuffer.wrap(bytes.clone()), unreleased::decrementAndGet));
    return this;
  }

  /** Says no more. */
  public ScriptedPeer close() {
    lines.tryEmitComplete();
    return this;
  }

  public Connector connector() {
    return () -> Mono.just(this);
  }

  public Acceptor acceptor() {
    return new Acceptor() {
      @Override
      public Mono<Connection> accept() {
        return Mono.just(ScriptedPeer.this);
      }

      @Override
      public String address() {
        return "the script";
      }

      @Override
      public void dispose() {}
    };
  }

  /** The types of the records that were heard. */
  public synchronized List<Integer> heardTypes() {
    return WireBytes.records(heard.toByteArray()).stream().map(WireBytes.Span::type).toList();
  }

  synchronized byte[] heard() {
    return heard.toByteArray();
  }

  private void hear(TransportBuffer buffer) {
    List<WireBytes.Span> spans;
    synchronized (this) {
      heard.writeBytes(WireBytes.bytes(buffer));
      spans = WireBytes.records(heard.toByteArray());
    }
    while (understood < spans.size()) {
      onRecord.accept(this, spans.get(understood++).type());
    }
  }

  @Override
  public Mono<Void> send(Flux<TransportBuffer> buffers) {
    return buffers
        .takeUntilOther(closed.asMono())
        .doOnNext(this::hear)
        .doOnTerminate(this::close)
        .then();
  }

  @Override
  public Flux<TransportBuffer> receive() {
    return lines.asFlux().takeUntilOther(closed.asMono());
  }

  @Override
  public String peer() {
    return "the script";
  }

  @Override
  public void dispose() {
    closed.tryEmitEmpty();
  }

  @Override
  public Mono<Void> onDispose() {
    return closed.asMono();
  }
}
