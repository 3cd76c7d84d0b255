package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.codec.XbzrleCaches;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import java.util.function.Consumer;
import java.util.function.Function;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;
import reactor.util.retry.Retry;

/**
 * The two relays of a migration from QEMU to QEMU; see the package.
 *
 * <p>Each is a cold flux that relays one migration for each subscriber.
 *
 * <p><b>Demand:</b> the migration does not wait for the subscriber. Progress is left out while
 * nobody asks for it; the last element, which says that the migration has passed through, is not.
 *
 * <p><b>Ordering and threading:</b> in order; on the transport's threads, Reactor's parallel ones
 * and the relay's own, {@code pageflux-relay-*}, which end with the migration.
 *
 * <p><b>Memory bound:</b> see {@link RelaySpec}.
 *
 * <p><b>Discard and cancel:</b> cancelling closes all connections; the source's QEMU goes on with
 * its guest, unless it believes already that the migration is complete.
 *
 * <p><b>Errors:</b> a {@link MigrationException}: of kind {@code TRANSPORT} if a connection broke
 * or a QEMU has closed too early, {@code PROTOCOL} or {@code INTEGRITY} if somebody said what he
 * may not, {@code TIMEOUT} if somebody said nothing. All connections are closed then.
 */
public final class QemuRelay {

  private QemuRelay() {}

  /**
   * {@return the relay at the source, until one migration has passed through}
   *
   * @param spec how to go about it
   * @param qemu where the source's QEMU connects to: {@code migrate tcp:HOST:PORT}. Not disposed
   * @param peer to the relay at the destination
   */
  public static Flux<RelayInfo> source(RelaySpec spec, Acceptor qemu, Connector peer) {
    XbzrleCaches none = new XbzrleCaches();
    none.close();
    return source(spec, none, qemu, peer);
  }

  /**
   * {@return the same for one of several migrations, which is spared the cost of fresh memory}
   *
   * @param caches where the memory for deltas is from; closed by the caller after the last
   *     migration
   */
  public static Flux<RelayInfo> source(
      RelaySpec spec, XbzrleCaches caches, Acceptor qemu, Connector peer) {
    return source(spec, caches, qemu, peer, stray -> {});
  }

  /**
   * {@return the same, which says who was turned away}
   *
   * <p>The relay at the destination is connected to when a client has begun to speak as QEMU does.
   * Who says something else, or nothing within {@link RelaySpec#peerTimeout()}, is turned away, and
   * the relay goes on waiting.
   *
   * @param strays learns of each client that was turned away, and why, in words; called on a thread
   *     of the transport, which must not be blocked
   */
  public static Flux<RelayInfo> source(
      RelaySpec spec, XbzrleCaches caches, Acceptor qemu, Connector peer, Consumer<String> strays) {
    return Flux.defer(
        () -> {
          MadeConnection accepted = new MadeConnection();
          QemuDoor door =
              new QemuDoor(qemu, accepted, spec.peerTimeout(), Schedulers.parallel(), strays);
          return relay(
                  spec,
                  accepted,
                  door.qemu(),
                  (threads, line, stop, sink) ->
                      connection ->
                          orStopped(connect(spec, peer, line), stop)
                              .map(
                                  other -> {
                                    RelaySource relay =
                                        new RelaySource(
                                            spec, caches, connection, other, threads, stop, sink);
                                    relay.heedFurtherConnections(door);
                                    return relay;
                                  }))
              .doFinally(signal -> door.dispose());
        });
  }

  /**
   * {@return the relay at the destination, until one migration has passed through}
   *
   * @param spec how to go about it
   * @param peer where the relay at the source connects to. Not disposed
   * @param qemu to the destination's QEMU, which waits with {@code -incoming tcp:HOST:PORT}; it is
   *     connected to when a relay has said hello
   */
  public static Flux<RelayInfo> destination(RelaySpec spec, Acceptor peer, Connector qemu) {
    return destination(spec, peer, qemu, stray -> {});
  }

  /**
   * {@return the same, which says who was turned away}
   *
   * <p>Who does not say hello as a relay does, or nothing within {@link RelaySpec#peerTimeout()},
   * is turned away, and this one goes on waiting.
   *
   * @param strays learns of each client that was turned away, and why, in words; called on a thread
   *     of the transport, which must not be blocked
   */
  public static Flux<RelayInfo> destination(
      RelaySpec spec, Acceptor peer, Connector qemu, Consumer<String> strays) {
    return Flux.defer(
        () -> {
          MadeConnection accepted = new MadeConnection();
          RelayDoor door = new RelayDoor(peer, spec.peerTimeout(), Schedulers.parallel(), strays);
          return relay(
                  spec,
                  accepted,
                  door.relay().doOnNext(accepted::made),
                  (threads, line, stop, sink) ->
                      connection ->
                          Mono.fromSupplier(
                              () ->
                                  new RelayDestination(
                                      spec, connection, qemu, threads, stop, sink, door)))
              .doFinally(signal -> door.dispose());
        });
  }

  /** Makes the link for an accepted connection. */
  @FunctionalInterface
  private interface Maker {
    Function<Connection, Mono<? extends RelayLink>> with(
        Scheduler threads, MadeConnection line, Mono<Void> stop, FluxSink<RelayInfo> sink);
  }

  private static Flux<RelayInfo> relay(
      RelaySpec spec, MadeConnection accepted, Mono<Connection> client, Maker maker) {
    return Flux.create(
        sink -> {
          // Stopped, and never cancelled: a relay's end has an order, see RelayLink.
          Sinks.Empty<Void> stop = Sinks.empty();
          sink.onDispose(stop::tryEmitEmpty);
          session(spec, accepted, client, maker, stop.asMono(), sink)
              .subscribe(
                  info -> {
                    sink.next(info);
                    sink.complete();
                  },
                  e -> {
                    if (!sink.isCancelled()) { // else nobody is there to hear it
                      sink.error(e);
                    }
                  });
        });
  }

  private static Mono<RelayInfo> session(
      RelaySpec spec,
      MadeConnection accepted,
      Mono<Connection> client,
      Maker maker,
      Mono<Void> stop,
      FluxSink<RelayInfo> sink) {
    MadeConnection made = new MadeConnection();
    return Mono.usingWhen(
            Mono.fromSupplier(() -> Schedulers.newParallel("pageflux-relay", spec.workers(), true)),
            threads ->
                orStopped(client, stop)
                    .flatMap(maker.with(threads, made, stop, sink))
                    .flatMap(QemuRelay::run)
                    .retryWhen(Retry.indefinitely().filter(Stray.class::isInstance)),
            threads -> Mono.fromRunnable(threads::dispose))
        .onErrorMap(MigrationException::ofAny)
        .doFinally(
            signal -> {
              accepted.close();
              made.close();
            });
  }

  private static Mono<Connection> orStopped(Mono<Connection> connection, Mono<Void> stop) {
    return connection
        .takeUntilOther(stop)
        .switchIfEmpty(Mono.error(RelayLink::cancelled))
        .doOnDiscard(Connection.class, Connection::dispose);
  }

  /** Who was taken for a relay, and is none. Nothing has come of it. */
  private static final class Stray extends RuntimeException {
    @java.io.Serial private static final long serialVersionUID = 1;

    Stray(Throwable cause) {
      super(cause);
    }
  }

  private static Mono<RelayInfo> run(RelayLink link) {
    return Mono.usingWhen(
            Mono.just(link),
            l -> l.run().then(Mono.fromSupplier(l::info)),
            RelayLink::finish,
            RelayLink::fail,
            l -> l.fail(RelayLink.cancelled()))
        .onErrorMap(e -> link.turnsAway(MigrationException.ofAny(e)) ? new Stray(e) : e);
  }

  private static Mono<Connection> connect(
      RelaySpec spec, Connector connector, MadeConnection line) {
    return Mono.<Connection>from(connector.connect())
        .timeout(
            spec.peerTimeout(),
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.TIMEOUT,
                        "the relay at the destination does not answer within "
                            + spec.peerTimeout().toSeconds()
                            + " s")))
        .doOnNext(line::made);
  }
}
