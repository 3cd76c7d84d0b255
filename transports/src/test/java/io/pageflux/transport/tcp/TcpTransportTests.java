package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Digest;
import io.pageflux.transport.SlabSource;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.channels.SocketChannel;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;
import reactor.netty.resources.LoopResources;
import reactor.test.StepVerifier;

/** What holds over TCP, whatever Netty uses below. */
abstract class TcpTransportTests extends SocketTransportTests {

  /** A spec for the loopback address and the kind of Netty transport that is tested. */
  abstract TcpSpec spec();

  @Override
  TcpSpec spec(int eventLoops, int readBytes, @Nullable LoopResources given) {
    return spec().withEventLoops(eventLoops).withReadBytes(readBytes).withLoopResources(given);
  }

  @Override
  TcpSpec to(Acceptor listening, SocketSpec spec) {
    return ((TcpSpec) spec).withPort(((TcpAcceptor) listening).port());
  }

  @Override
  SocketChannel raw(Acceptor listening) throws IOException {
    return SocketChannel.open(new InetSocketAddress(((TcpAcceptor) listening).port()));
  }

  @Override
  public TcpAcceptor acceptor() {
    return (TcpAcceptor) super.acceptor();
  }

  @Test
  void aRefusedConnectionIsExplained() throws Exception {
    int port;
    try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      port = free.getLocalPort();
    }
    StepVerifier.create(new TcpConnector(spec().withPort(port)).connect())
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOfSatisfying(
                        MigrationException.class,
                        e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT))
                    .hasMessage(
                        "cannot connect to 127.0.0.1:"
                            + port
                            + ": the connection was refused; check the port, and whether the"
                            + " destination has been started and listens on this address"))
        .verify(PATIENCE);
  }

  @Test
  void anUnknownHostIsExplained() {
    TcpSpec nowhere = spec().withHost("no-such-host.invalid").withPort(4711);
    for (Mono<?> attempt :
        List.of(new TcpConnector(nowhere).connect(), TcpAcceptor.bind(nowhere))) {
      StepVerifier.create(attempt)
          .expectErrorSatisfies(
              error ->
                  assertThat(error)
                      .isInstanceOf(MigrationException.class)
                      .hasMessageContaining("the host name no-such-host.invalid is unknown")
                      .hasMessageContaining("give an address"))
          .verify(PATIENCE);
    }
  }

  @Test
  void aPortInUseIsExplained() {
    StepVerifier.create(TcpAcceptor.bind(spec().withPort(acceptor().port())))
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOfSatisfying(
                        MigrationException.class,
                        e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT))
                    .hasMessage(
                        "cannot listen on "
                            + acceptor().address()
                            + ": another socket listens on this port; stop the program that does,"
                            + " choose another port, or port 0 for any that is free"))
        .verify(PATIENCE);
  }

  @Test
  void aForeignAddressIsExplained() {
    StepVerifier.create(TcpAcceptor.bind(spec().withHost("192.0.2.1")))
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOf(MigrationException.class)
                    .hasMessageContaining("cannot listen on 192.0.2.1:0")
                    .hasMessageContaining("not an address of this machine"))
        .verify(PATIENCE);
  }

  @Test
  void theAddressesOfANameAreTriedOneAfterTheOther() {
    // Mostly ::1 and 127.0.0.1, of which only one listens.
    Connection client =
        Objects.requireNonNull(
            new TcpConnector(spec().withHost("localhost").withPort(acceptor().port()))
                .connect()
                .block(PATIENCE));
    assertThat(client.peer()).isEqualTo(acceptor().address());
    client.dispose();
  }

  @Test
  @SuppressWarnings("try") // closed in the middle, on purpose
  void aResetIsAnErrorOnBothWays() throws Exception {
    try (Socket raw = new Socket()) {
      raw.connect(new InetSocketAddress(acceptor().port()));
      Connection server = Objects.requireNonNull(acceptor().accept().block(PATIENCE));
      Digest digest = Digest.greedy(1);
      server.receive().subscribe(digest);
      raw.getOutputStream().write(1);
      digest.enough().block(PATIENCE);
      try (SlabSource source = new SlabSource(8, 5)) {
        Mono<Void> sent = server.send(source.buffers(100_000, 256 << 10)).cache();
        sent.subscribe(nothing -> {}, error -> {});
        raw.getInputStream().readNBytes(100_000);
        raw.setSoLinger(true, 0);
        raw.close();
        for (Mono<Void> end : List.of(sent, digest.ended())) {
          StepVerifier.create(end)
              .expectErrorSatisfies(
                  error ->
                      assertThat(error)
                          .isInstanceOfSatisfying(
                              MigrationException.class,
                              e ->
                                  assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT))
                          .hasMessageContaining(server.peer())
                          .hasMessageContaining("was reset by the other side"))
              .verify(PATIENCE);
        }
        server.dispose();
        source.awaitAllReleased();
      }
    }
  }
}
