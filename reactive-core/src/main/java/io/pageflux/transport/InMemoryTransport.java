package io.pageflux.transport;

import io.pageflux.MigrationException;
import reactor.core.publisher.Mono;

/**
 * A transport inside one JVM: for tests, for virtual time, and for moving a guest between two parts
 * of one program.
 *
 * <p>Buffers are handed over as they are, nothing is copied; the receiver's release is the release.
 *
 * <p><b>Demand:</b> what the receiver requests is requested from the sender's source, and {@code
 * prefetchBuffers} more, so that a sender need not wait for each single request.
 *
 * <p><b>Ordering and threading:</b> it has no threads. Signals run on whichever thread emits,
 * requests or closes; one direction never runs on two threads at once.
 *
 * <p><b>Memory bound:</b> {@code prefetchBuffers} buffers a direction, in a queue.
 *
 * <p><b>Discard and cancel:</b> a send completes when the last buffer was delivered to the
 * receiver. Until then, cancelling on either side, closing, or an error of the source releases what
 * is in the queue. After the receiver has cancelled nothing more is requested from the sender: it
 * waits until one side closes the connection.
 *
 * <p><b>Errors:</b> a send that a close cuts off fails with a {@link MigrationException} of kind
 * {@code TRANSPORT}; a receive always completes.
 */
public final class InMemoryTransport {

  /** How many buffers a direction takes ahead of demand, if not told otherwise. */
  public static final int DEFAULT_PREFETCH_BUFFERS = 4;

  private static final String ADDRESS = "the in-memory transport";

  /**
   * Two connected ends.
   *
   * @param first one end
   * @param second the other
   */
  public record Pair(Connection first, Connection second) {}

  private final int prefetchBuffers;
  private final AcceptQueue<Connection> queue = new AcceptQueue<>(() -> ADDRESS);
  private final Acceptor acceptor = new InMemoryAcceptor();

  private InMemoryTransport(int prefetchBuffers) {
    this.prefetchBuffers = requirePrefetch(prefetchBuffers);
  }

  private static int requirePrefetch(int prefetchBuffers) {
    if (prefetchBuffers < 1 || prefetchBuffers > 256) {
      throw new IllegalArgumentException(
          "1 to 256 buffers can be taken ahead, but " + prefetchBuffers + " were asked for");
    }
    return prefetchBuffers;
  }

  /** Makes a transport: a place to connect to, that nobody else can reach. */
  public static InMemoryTransport create() {
    return create(DEFAULT_PREFETCH_BUFFERS);
  }

  /**
   * Makes a transport.
   *
   * @param prefetchBuffers how many buffers a direction takes ahead of demand, 1 to 256
   */
  public static InMemoryTransport create(int prefetchBuffers) {
    return new InMemoryTransport(prefetchBuffers);
  }

  /** Makes a connection of which the caller has both ends. */
  public static Pair pair() {
    return pair(DEFAULT_PREFETCH_BUFFERS);
  }

  /**
   * Makes a connection of which the caller has both ends.
   *
   * @param prefetchBuffers how many buffers a direction takes ahead of demand, 1 to 256
   */
  public static Pair pair(int prefetchBuffers) {
    return InMemoryConnection.pair(
        requirePrefetch(prefetchBuffers), "the first end in memory", "the second end in memory");
  }

  /** {@return what connects to {@link #acceptor()}} */
  public Connector connector() {
    return () -> Mono.defer(this::connect);
  }

  private Mono<Connection> connect() {
    Pair pair =
        InMemoryConnection.pair(
            prefetchBuffers, "the connecting side in memory", "the accepting side in memory");
    if (queue.offer(pair.second())) {
      return Mono.just(pair.first());
    }
    pair.first().dispose();
    return Mono.error(
        MigrationException.of(
            MigrationException.Kind.TRANSPORT,
            "cannot connect to "
                + ADDRESS
                + ": its acceptor was disposed, or "
                + AcceptQueue.MAX_WAITING
                + " connections wait that nobody has accepted"));
  }

  /** {@return where the connections that {@link #connector()} makes come in; always the same} */
  public Acceptor acceptor() {
    return acceptor;
  }

  private final class InMemoryAcceptor implements Acceptor {
    @Override
    public Mono<Connection> accept() {
      return queue.accept();
    }

    @Override
    public String address() {
      return ADDRESS;
    }

    @Override
    public void dispose() {
      queue.close();
    }
  }
}
