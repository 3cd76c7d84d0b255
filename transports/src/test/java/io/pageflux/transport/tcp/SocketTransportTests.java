package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.Digest;
import io.pageflux.transport.InMemoryTransport;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.TransportContract;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.netty.resources.LoopResources;
import reactor.test.StepVerifier;

/** What holds over every kind of socket, whatever Netty uses below. */
@ExtendWith(LeakCheck.class)
abstract class SocketTransportTests implements TransportContract {

  static final int READ_BYTES = 128 << 10;
  private static final int SOCKET_BUFFER_BYTES = 64 << 10;

  /** So often is something tried that goes wrong once in some hundred times. */
  private static final int STRESS = 400;

  private @Nullable Acceptor acceptor;
  private @Nullable Connector connector;
  private List<Thread> before = List.of(); // left by a test that failed

  /** A place to listen at, each time another one. */
  abstract SocketSpec spec(int eventLoops, int readBytes, @Nullable LoopResources given);

  /** The same settings, to connect to an acceptor. */
  abstract SocketSpec to(Acceptor listening, SocketSpec spec);

  /** A connection that is none of Netty's. */
  abstract SocketChannel raw(Acceptor listening) throws IOException;

  /** What the names of the event loops' threads contain. */
  abstract String threadKind();

  static Acceptor listen(SocketSpec spec) {
    Acceptor listening = SocketTransport.listen(spec).block(PATIENCE);
    return Objects.requireNonNull(listening);
  }

  @BeforeEach
  void listen() {
    before = threads();
    // Small socket buffers, so that backpressure comes after some hundred kilobytes; and one event
    // loop, so that a connection's round trips are turns for all.
    SocketSpec spec =
        spec(1, READ_BYTES, null).withSocketBuffers(SOCKET_BUFFER_BYTES, SOCKET_BUFFER_BYTES);
    acceptor = listen(spec);
    connector = SocketTransport.connector(to(acceptor, spec));
  }

  @AfterEach
  void everyThreadEndsWithTheLastConnection() throws InterruptedException {
    acceptor().dispose();
    for (Thread thread : threads()) {
      if (before.contains(thread)) {
        continue;
      }
      thread.join(PATIENCE.toMillis());
      assertThat(thread.isAlive()).as(thread.getName()).isFalse();
    }
  }

  static List<Thread> threads() {
    return Thread.getAllStackTraces().keySet().stream()
        .filter(thread -> thread.getName().startsWith("pageflux-"))
        .toList();
  }

  @Override
  public Acceptor acceptor() {
    return Objects.requireNonNull(acceptor);
  }

  @Override
  public Connector connector() {
    return Objects.requireNonNull(connector);
  }

  @Override
  public int window() {
    return TcpOutbound.WINDOW;
  }

  @Override
  public long bytesOnTheWay() {
    // The kernel doubles what is asked for, on both sides; and one read waits without demand.
    return 4L * SOCKET_BUFFER_BYTES + READ_BYTES;
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
  void whatAPeerSentBeforeItClosedIsNotReadWithoutDemandAndNotLost() throws Exception {
    // Ten reads, and less than the kernel takes before anybody reads: so the close is there too.
    int sent = 40 << 10;
    SocketSpec spec = spec(1, 4 << 10, null);
    Acceptor listening = listen(spec);
    try (SocketChannel raw = raw(listening)) {
      raw.write(ByteBuffer.allocate(sent));
    }
    Connection server = Objects.requireNonNull(listening.accept().block(PATIENCE));
    Connection other =
        Objects.requireNonNull(
            SocketTransport.connector(to(listening, spec)).connect().block(PATIENCE));
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
    SocketSpec spec = spec(1, READ_BYTES, given);
    Acceptor listening = listen(spec);
    for (int i = 0; i < 2; i++) {
      Connection client =
          Objects.requireNonNull(
              SocketTransport.connector(to(listening, spec)).connect().block(PATIENCE));
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
    acceptor().dispose();
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

  @Test
  void nothingIsLeftOfConnectionsThatAreCancelled() {
    SocketSpec spec = spec(2, READ_BYTES, null);
    Acceptor listening = listen(spec);
    Set<String> open = sockets();
    for (int i = 0; i < STRESS; i++) {
      Connector connecting = SocketTransport.connector(to(listening, spec));
      Disposable attempt = connecting.connect().subscribe(Connection::dispose, e -> {});
      spin(i);
      attempt.dispose();
    }
    listening.dispose();
    noneBut(open);
  }

  @Test
  void nothingIsLeftOfConnectionsToAnAcceptorThatIsDisposed() throws IOException {
    raw(acceptor()).close(); // with the first one, the JDK opens a socket for itself
    Set<String> open = sockets();
    for (int i = 0; i < STRESS; i++) {
      Acceptor listening = listen(spec(2, READ_BYTES, null));
      try (SocketChannel first = raw(listening);
          SocketChannel second = raw(listening)) {
        assertThat(first.isConnected() && second.isConnected()).isTrue();
        spin(i);
        listening.dispose();
      }
    }
    acceptor().dispose();
    noneBut(open);
  }

  /** Passes the time in which something is half done, a different one each time. */
  private static void spin(int i) {
    for (int n = 0; n < i * 7919 % 4000; n++) {
      Thread.onSpinWait();
    }
  }

  /** Waits until there are no sockets but those, as the acceptor's, which may be closed. */
  private static void noneBut(Set<String> expected) {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!expected.containsAll(sockets()) && System.nanoTime() < end) {
      LockSupport.parkNanos(1_000_000);
    }
    assertThat(expected).containsAll(sockets());
  }

  private static Set<String> sockets() {
    try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"))) {
      return descriptors
          .map(SocketTransportTests::target)
          .filter(target -> target.startsWith("socket:"))
          .collect(Collectors.toSet());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String target(Path descriptor) {
    try {
      return Files.readSymbolicLink(descriptor).toString();
    } catch (IOException e) {
      return ""; // closed meanwhile
    }
  }
}
