package io.pageflux.channel;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import java.time.Duration;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * The connection of one session, closed with it in any case: one that is made just as somebody asks
 * for the migration to stop is dropped on its way, and nobody else would know of it.
 */
public final class MadeConnection {

  /** Awaits a connection. */
  public MadeConnection() {}

  private volatile @Nullable Connection made;
  private volatile boolean closed;

  /**
   * Connects when subscribed to.
   *
   * @param patience how long that may take
   * @param timer what measures it
   * @param stop connects no more when it completes
   * @param stopped the error with which it ends then
   */
  public Mono<Connection> connect(
      Connector connector,
      Duration patience,
      Scheduler timer,
      Mono<Void> stop,
      Supplier<Throwable> stopped) {
    return until(
        stop,
        stopped,
        Mono.just(connector)
            .hide() // see until()
            .<Connection>flatMap(Connector::connect)
            .doOnNext(this::made)
            .timeout(
                patience,
                Mono.error(
                    () ->
                        MigrationException.of(
                            Kind.TIMEOUT, "no connection within " + MigrationText.of(patience))),
                timer));
  }

  /**
   * Accepts a connection when subscribed to.
   *
   * @param stop accepts none any more when it completes
   * @param stopped the error with which it ends then
   */
  public Mono<Connection> accept(Acceptor acceptor, Mono<Void> stop, Supplier<Throwable> stopped) {
    return until(
        stop,
        stopped,
        Mono.just(acceptor)
            .hide() // see until()
            .<Connection>flatMap(Acceptor::accept)
            .doOnNext(this::made));
  }

  /**
   * What makes the connection is hidden above, so that a request makes it, and not the subscription
   * alone: who has been stopped before makes none.
   */
  private static Mono<Connection> until(
      Mono<Void> stop, Supplier<Throwable> stopped, Mono<Connection> making) {
    return making
        .takeUntilOther(stop)
        .switchIfEmpty(Mono.error(stopped))
        .doOnDiscard(Connection.class, Connection::dispose);
  }

  /** Says that it was made; closes it if it is too late. */
  public void made(Connection connection) {
    made = connection;
    if (closed) {
      connection.dispose();
    }
  }

  /** Closes it, now or as soon as it is made. */
  public void close() {
    closed = true;
    Connection connection = made;
    if (connection != null) {
      connection.dispose();
    }
  }
}
