package io.pageflux.qemu.relay;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;

import io.pageflux.codec.XbzrleCaches;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** Two relays between two addresses, over real sockets, for one migration. */
final class RelayPair implements AutoCloseable {

  private final TcpAcceptor fromQemu;
  private final TcpAcceptor fromRelay;
  private final AtomicReference<Connection> link = new AtomicReference<>();
  private final CompletableFuture<RelayInfo> sourceEnd = new CompletableFuture<>();
  private final CompletableFuture<RelayInfo> destinationEnd = new CompletableFuture<>();
  private final AtomicReference<RelayInfo> sourceInfo = new AtomicReference<>();
  private final List<String> strays = new CopyOnWriteArrayList<>();
  private final Disposable source;
  private final Disposable destination;

  RelayPair(RelaySpec spec, int qemuPort) {
    this(spec, TcpTransport.connector(TcpSpec.loopback(qemuPort)));
  }

  RelayPair(RelaySpec spec, Connector qemu) {
    fromQemu = listen(TcpSpec.loopback(0).withSocketBuffers(0, 256 << 10));
    fromRelay = listen(TcpSpec.loopback(0));
    Connector between = TcpTransport.connector(TcpSpec.loopback(fromRelay.port()));
    Connector watched = () -> Mono.<Connection>from(between.connect()).doOnNext(link::set);
    destination = follow(QemuRelay.destination(spec, fromRelay, qemu), destinationEnd);
    XbzrleCaches none = new XbzrleCaches();
    none.close();
    source =
        follow(
            QemuRelay.source(spec, none, fromQemu, watched, strays::add).doOnNext(sourceInfo::set),
            sourceEnd);
  }

  private static TcpAcceptor listen(TcpSpec spec) {
    Acceptor acceptor = TcpTransport.listen(spec).block(PATIENCE);
    return (TcpAcceptor) Objects.requireNonNull(acceptor);
  }

  private static Disposable follow(Flux<RelayInfo> relay, CompletableFuture<RelayInfo> end) {
    return relay.last().subscribe(end::complete, end::completeExceptionally);
  }

  /** {@return where the source's QEMU is to migrate to} */
  String uri() {
    return "tcp:127.0.0.1:" + fromQemu.port();
  }

  int port() {
    return fromQemu.port();
  }

  int relayPort() {
    return fromRelay.port();
  }

  CompletableFuture<RelayInfo> sourceEnd() {
    return sourceEnd;
  }

  CompletableFuture<RelayInfo> destinationEnd() {
    return destinationEnd;
  }

  /** {@return how many bytes of QEMU's the source's relay has read, as it last said} */
  long qemuBytes() {
    RelayInfo info = sourceInfo.get();
    return info == null ? 0 : info.qemuBytes();
  }

  /** {@return who was turned away, and why} */
  List<String> strays() {
    return strays;
  }

  /** {@return whether the source's relay has connected to the destination's} */
  boolean isConnected() {
    return link.get() != null;
  }

  void stopSource() {
    source.dispose();
  }

  void stopDestination() {
    destination.dispose();
  }

  /** Cuts the connection between the two, if there is one. */
  void cut() {
    Connection connection = link.get();
    if (connection != null) {
      connection.dispose();
    }
  }

  @Override
  public void close() {
    source.dispose();
    destination.dispose();
    fromQemu.dispose();
    fromRelay.dispose();
  }

  /**
   * Prepares a QEMU that was started with {@code -incoming defer}. {@return the port it waits at}
   */
  static int await(QemuProcess destination, Map<String, Boolean> capabilities) {
    destination.commands().setCapabilities(capabilities).block(PATIENCE);
    destination.commands().migrateIncoming("tcp:127.0.0.1:0").block(PATIENCE);
    return Integer.parseInt(
        Objects.requireNonNull(destination.commands().queryMigrate().block(PATIENCE))
            .info()
            .path("socket-address")
            .path(0)
            .path("port")
            .asText());
  }

  /** The reason for which a relay ended, or null if it has passed everything on. */
  static @Nullable Throwable failure(CompletableFuture<RelayInfo> end) {
    try {
      end.get(PATIENCE.toSeconds(), java.util.concurrent.TimeUnit.SECONDS);
      return null;
    } catch (java.util.concurrent.ExecutionException e) {
      return e.getCause();
    } catch (InterruptedException | java.util.concurrent.TimeoutException e) {
      throw new AssertionError("the relay did not end", e);
    }
  }
}
