package io.pageflux.transport;

import java.util.concurrent.atomic.AtomicBoolean;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** One end of a connection inside one JVM. */
final class InMemoryConnection implements Connection {

  /** What both ends share. */
  private static final class Link {

    private final Lane there;
    private final Lane back;
    private final AtomicBoolean closed = new AtomicBoolean();
    private final Sinks.Empty<Void> onClose = Sinks.empty();

    Link(Lane there, Lane back) {
      this.there = there;
      this.back = back;
    }

    void close() {
      if (closed.compareAndSet(false, true)) {
        there.close();
        back.close();
        onClose.tryEmitEmpty();
      }
    }
  }

  private final Link link;
  private final Lane out;
  private final Lane in;
  private final String peer;

  private InMemoryConnection(Link link, Lane out, Lane in, String peer) {
    this.link = link;
    this.out = out;
    this.in = in;
    this.peer = peer;
  }

  static InMemoryTransport.Pair pair(int prefetch, String first, String second) {
    Lane there = new Lane(prefetch, second);
    Lane back = new Lane(prefetch, first);
    Link link = new Link(there, back);
    return new InMemoryTransport.Pair(
        new InMemoryConnection(link, there, back, second),
        new InMemoryConnection(link, back, there, first));
  }

  @Override
  public Mono<Void> send(Flux<TransportBuffer> buffers) {
    return out.send(buffers);
  }

  @Override
  public Flux<TransportBuffer> receive() {
    return in.receive();
  }

  @Override
  public String peer() {
    return peer;
  }

  @Override
  public void dispose() {
    link.close();
  }

  @Override
  public Mono<Void> onDispose() {
    return link.onClose.asMono();
  }

  @Override
  public String toString() {
    return "InMemoryConnection[to " + peer + "]";
  }
}
