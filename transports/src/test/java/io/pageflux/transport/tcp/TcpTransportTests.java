package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.MigrationException;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.Digest;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.SlabSource;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.TransportContract;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.netty.resources.LoopResources;
import reactor.test.StepVerifier;

/** What holds over TCP, whatever Netty uses below. */
@ExtendWith(LeakCheck.class)
abstract class TcpTransportTests implements TransportContract {

  private static final int SOCKET_BUFFER_BYTES = 64 << 10;

  private TcpAcceptor acceptor;
  private TcpConnector connector;
  private List<Thread> before = List.of(); // left by a test that failed

  /** A spec for the loopback address and the kind of Netty transport that is tested. */
  abstract TcpSpec spec();

  /** What the names of the event loops' threads contain. */
  abstract String threadKind();

  @BeforeEach
  void listen() {
    before = threads();
    // Small socket buffers, so that backpressure comes after some hundred kilobytes; and one event
    // loop, so that a connection's round trips are turns for all.
    TcpSpec spec =
        spec().withEventLoops(1).withSocketBuffers(SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES);
    acceptor = Objects.requireNonNull(TcpAcceptor.bind(spec).block(PATIENCE));
    connector = new TcpConnector(spec.withPort(acceptor.port()));
  }

  @AfterEach
  void everyThreadEndsWithTheLastConnection() throws InterruptedException {
    acceptor.dispose();
    for (Thread thread : threads()) {
      if (before.contains(thread)) {
        continue;
      }
      thread.join(PATIENCE.toMillis());
      assertThat(thread.isAlive()).as(thread.getName()).isFalse();
    }
  }

  private static List<Thread> threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("pageflux-"))
        .toList();
  }

  @Override
  public Acceptor acceptor() {
    return acceptor;
  }

  @Override
  public Connector connector() {
    return connector;
  }

  @Override
  public int window() {
    return TcpOutbound.WINDOW;
  }

  @Override
  public long bytesOnTheWay() {
    // The kernel doubles what is asked for, on both sides; and one read waits without demand.
    return 4L * SOCKET_BUFFER_BYTES + spec().readBytes();
  }

  @Test
  void itRunsOnTheKindOfThreadsThatWasAskedFor() {
    InMemoryTransport.Pair pair = connect();
    AtomicReference<String> sender = new AtomicReference<>();
    pair.first()
        .send(
            Flux.defer(
                () -> {
                  sender.set(Thread.currentThread().getName());
                  return Flux.empty();
                }))
        .block(PATIENCE);
    assertThat(sender.get()).startsWith("pageflux-connect-").contains(threadKind());
    assertThat(threads()).allMatch(Thread::isDaemon);
    pair.first().dispose();
    pair.second().dispose();
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
    StepVerifier.create(TcpAcceptor.bind(spec().withPort(acceptor.port())))
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOfSatisfying(
                        MigrationException.class,
                        e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT))
                    .hasMessage(
                        "cannot listen on "
                            + acceptor.address()
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
            new TcpConnector(spec().withHost("localhost").withPort(acceptor.port()))
                .connect()
                .block(PATIENCE));
    assertThat(client.peer()).isEqualTo(acceptor.address());
    client.dispose();
  }

  @Test
  @SuppressWarnings("try") // closed in the middle, on purpose
  void aResetIsAnErrorOnBothWays() throws Exception {
    try (Socket raw = new Socket()) {
      raw.connect(new InetSocketAddress(acceptor.port()));
      Connection server = Objects.requireNonNull(acceptor.accept().block(PATIENCE));
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

  @Test
  void whatAPeerSentBeforeItClosedIsNotReadWithoutDemandAndNotLost() throws Exception {
    // Ten reads, and less than the kernel takes before anybody reads: so the close is there too.
    int sent = 40 << 10;
    TcpSpec spec = spec().withEventLoops(1).withReadBytes(4 << 10);
    TcpAcceptor listening = Objects.requireNonNull(TcpAcceptor.bind(spec).block(PATIENCE));
    try (Socket raw = new Socket()) {
      raw.connect(new InetSocketAddress(listening.port()));
      raw.getOutputStream().write(new byte[sent]);
    }
    Connection server = Objects.requireNonNull(listening.accept().block(PATIENCE));
    Connection other =
        Objects.requireNonNull(
            new TcpConnector(spec.withPort(listening.port())).connect().block(PATIENCE));
    Connection otherEnd = Objects.requireNonNull(listening.accept().block(PATIENCE));
    Digest trip = Digest.greedy(1);
    otherEnd.receive().subscribe(trip);
    other
        .send(Flux.just(TransportBuffer.of(ByteBuffer.allocate(1))))
        .and(trip.enough())
        .block(PATIENCE);
    assertThat(server.onDispose().toFuture())
        .as("a close behind unread bytes is not noticed yet, so they have not been read")
        .isNotDone();

    Digest digest = Digest.oneByOne(Long.MAX_VALUE);
    server.receive().subscribe(digest);
    StepVerifier.create(digest.ended()).expectComplete().verify(PATIENCE);
    assertThat(digest.bytes()).isEqualTo(sent);
    server.onDispose().block(PATIENCE);
    List.of(server, other, otherEnd).forEach(Connection::dispose);
    listening.dispose();
  }

  @Test
  void givenEventLoopsServeAndStay() {
    LoopResources given = LoopResources.create("given", 1, true);
    TcpSpec spec = spec().withLoopResources(given);
    TcpAcceptor listening = Objects.requireNonNull(TcpAcceptor.bind(spec).block(PATIENCE));
    for (int i = 0; i < 2; i++) {
      Connection client =
          Objects.requireNonNull(
              new TcpConnector(spec.withPort(listening.port())).connect().block(PATIENCE));
      Connection server = Objects.requireNonNull(listening.accept().block(PATIENCE));
      AtomicReference<String> thread = new AtomicReference<>();
      client
          .send(
              Flux.defer(
                  () -> {
                    thread.set(Thread.currentThread().getName());
                    return Flux.empty();
                  }))
          .block(PATIENCE);
      assertThat(thread.get()).startsWith("given-" + threadKind());
      client.dispose();
      server.dispose();
      client.onDispose().and(server.onDispose()).block(PATIENCE);
    }
    listening.dispose();
    assertThat(given.isDisposed()).isFalse();
    given.disposeLater(Duration.ZERO, Duration.ofSeconds(5)).block(PATIENCE);
  }

  @Test
  void aConnectorConnectsAgainAfterItsThreadsHaveEnded() throws InterruptedException {
    for (int i = 0; i < 3; i++) {
      InMemoryTransport.Pair pair = connect();
      List<Thread> connecting =
          threads().stream().filter(t -> t.getName().startsWith("pageflux-connect")).toList();
      assertThat(connecting).isNotEmpty();
      pair.first().dispose();
      pair.second().dispose();
      for (Thread thread : connecting) {
        thread.join(PATIENCE.toMillis());
        assertThat(thread.isAlive()).isFalse();
      }
    }
  }

  @Test
  void whatWasReceivedCanBeTakenAfterTheThreadsHaveEnded() throws InterruptedException {
    InMemoryTransport.Pair pair = connect();
    Digest digest = Digest.idle();
    pair.second().receive().subscribe(digest);
    pair.first().send(Flux.just(TransportBuffer.of(ByteBuffer.allocate(1000)))).block(PATIENCE);
    pair.first().dispose();
    acceptor.dispose();
    // The first read needs no demand, the one that sees the end does.
    digest.request(1);
    StepVerifier.create(digest.ended()).expectComplete().verify(PATIENCE);
    assertThat(digest.bytes()).isEqualTo(1000);
    for (Thread thread : threads()) {
      thread.join(PATIENCE.toMillis());
    }
    pair.second().dispose();
    assertThat(digest.isDisposed()).isTrue();
  }
}
