package io.pageflux.transport.tcp;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Digest;
import io.pageflux.transport.SlabSource;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import reactor.core.publisher.Mono;
import reactor.netty.resources.LoopResources;
import reactor.test.StepVerifier;

/** What holds for Unix domain sockets. */
@EnabledOnOs(OS.LINUX)
class UnixTransportTest extends SocketTransportTests {

  @TempDir private Path directory = Path.of("");
  private int places;

  private Path place() {
    return directory.resolve("s" + places++);
  }

  @Override
  UnixSpec spec(int eventLoops, int readBytes, @Nullable LoopResources given) {
    return UnixSpec.of(place())
        .withEventLoops(eventLoops)
        .withReadBytes(readBytes)
        .withLoopResources(given);
  }

  @Override
  SocketSpec to(Acceptor listening, SocketSpec spec) {
    return spec;
  }

  @Override
  SocketChannel raw(Acceptor listening) throws IOException {
    return SocketChannel.open(UnixDomainSocketAddress.of(listening.address().substring(5)));
  }

  @Override
  String threadKind() {
    return "epoll";
  }

  private static void fails(Mono<?> attempt, String... parts) {
    StepVerifier.create(attempt)
        .expectErrorSatisfies(
            error ->
                assertThat(error)
                    .isInstanceOfSatisfying(
                        MigrationException.class,
                        e -> assertThat(e.kind()).isEqualTo(MigrationException.Kind.TRANSPORT))
                    .hasMessageContainingAll(parts))
        .verify(PATIENCE);
  }

  private static Mono<Connection> connecting(Path path) {
    return new UnixConnector(UnixSpec.of(path)).connect();
  }

  private List<String> files() throws IOException {
    try (var files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  /** What a process leaves that is killed. */
  private static void leaveBehind(Path path) throws IOException {
    try (ServerSocketChannel dead = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      dead.bind(UnixDomainSocketAddress.of(path));
    }
    assertThat(path).exists();
  }

  @Test
  void theFileIsItsOwnersOnlyAndGoesWithTheAcceptor() throws IOException {
    assertThat(files()).containsExactly("s0");
    Path path = directory.resolve("s0");
    assertThat(Files.getPosixFilePermissions(path))
        .isEqualTo(PosixFilePermissions.fromString("rw-------"));
    acceptor().dispose();
    assertThat(files()).isEmpty();
  }

  @Test
  void theFileHasThePermissionsThatAreAskedFor() throws IOException {
    Path path = place();
    var permissions = PosixFilePermissions.fromString("rw-rw-rw-");
    Acceptor open = listen(UnixSpec.of(path).withPermissions(permissions));
    assertThat(Files.getPosixFilePermissions(path)).isEqualTo(permissions);
    open.dispose();
  }

  @Test
  void aFileThatADeadProcessLeftIsReplaced() throws IOException {
    Path path = place();
    leaveBehind(path);
    fails(connecting(path), "cannot connect to unix:" + path, "nobody listens there");
    Acceptor listening = listen(UnixSpec.of(path));
    Connection client = Objects.requireNonNull(connecting(path).block(PATIENCE));
    Connection server = Objects.requireNonNull(listening.accept().block(PATIENCE));
    assertThat(client.peer()).isEqualTo("unix:" + path);
    assertThat(server.peer()).isEqualTo("a client of unix:" + path);
    client.dispose();
    server.dispose();
    listening.dispose();
    assertThat(path).doesNotExist();
  }

  @Test
  void aSocketThatSomebodyListensOnStaysAndHearsNothing() throws IOException {
    Path path = place();
    try (ServerSocketChannel other = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      other.bind(UnixDomainSocketAddress.of(path));
      fails(
          UnixAcceptor.bind(UnixSpec.of(path)),
          "cannot listen on unix:" + path,
          "another program listens there");
      other.configureBlocking(false);
      assertThat(other.accept()).isNull();
      assertThat(path).exists();
    }
    assertThat(files()).containsExactly("s0", "s1");
  }

  @Test
  void aFileThatIsNoSocketIsLeftAlone() throws IOException {
    Path target = Files.writeString(place(), "precious");
    Path link = Files.createSymbolicLink(place(), target);
    Path folder = Files.createDirectory(place());
    for (Path path : List.of(target, link, folder)) {
      fails(UnixAcceptor.bind(UnixSpec.of(path)), "unix:" + path, "not a socket", "left alone");
      assertThat(Files.exists(path, LinkOption.NOFOLLOW_LINKS)).isTrue();
    }
    assertThat(target).hasContent("precious");
    fails(connecting(target), "unix:" + target, "that is not a socket");
  }

  @Test
  void aFileThatHasReplacedTheSocketIsLeftAtTheClose() throws Exception {
    Path path = place();
    Acceptor listening = listen(UnixSpec.of(path));
    Files.delete(path);
    Files.writeString(path, "precious");
    List<Thread> accepting =
        threads().stream().filter(t -> t.getName().startsWith("pageflux-accept")).toList();
    listening.dispose();
    acceptor().dispose();
    for (Thread thread : accepting) {
      thread.join(PATIENCE.toMillis());
    }
    assertThat(path).hasContent("precious");
  }

  @Test
  void whereThereIsNothingTheReasonIsGiven() {
    Path nowhere = directory.resolve("none/s");
    fails(connecting(place()), "no such file", "has been started");
    fails(UnixAcceptor.bind(UnixSpec.of(nowhere)), "unix:" + nowhere, "directory does not exist");
    fails(connecting(directory.resolve("s0/s")), "not a directory");
  }

  @Test
  void aPathThatIsTooLongIsRefused() throws IOException {
    int left = UnixSpec.MAX_PATH_BYTES - directory.toString().length() - 1;
    Path longest = directory.resolve("x".repeat(left));
    listen(UnixSpec.of(longest)).dispose();
    assertThatThrownBy(() -> UnixSpec.of(directory.resolve("x".repeat(left + 1))))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("1 to 107 bytes")
        .hasMessageContaining("has 108");
    Path deep = Files.createDirectory(directory.resolve("y".repeat(left - 2)));
    fails(UnixAcceptor.bind(UnixSpec.of(deep.resolve("s"))), "too long to listen on");
    assertThat(files()).containsExactly("s0", deep.getFileName().toString());
  }

  @Test
  void withoutEpollTheReasonIsGiven() {
    assertThatThrownBy(() -> UnixFailures.requireNative(UnixSpec.of(Path.of("/x")), false))
        .isInstanceOf(MigrationException.class)
        .hasMessageContainingAll("unix:/x", "epoll library is missing", "HOST:PORT");
  }

  @Test
  void aPeerThatEndsWithDataOnTheWayIsAnErrorOnBothWays() throws Exception {
    SocketChannel raw = raw(acceptor());
    Connection server = Objects.requireNonNull(acceptor().accept().block(PATIENCE));
    Digest digest = Digest.greedy(1);
    server.receive().subscribe(digest);
    raw.write(ByteBuffer.allocate(1));
    digest.enough().block(PATIENCE);
    try (SlabSource source = new SlabSource(8, 5)) {
      Mono<Void> sent = server.send(source.buffers(100_000, 256 << 10)).cache();
      sent.subscribe(nothing -> {}, error -> {});
      ByteBuffer some = ByteBuffer.allocate(100_000);
      while (some.hasRemaining()) {
        assertThat(raw.read(some)).isPositive();
      }
      raw.close();
      for (Mono<Void> end : List.of(sent, digest.ended())) {
        fails(end, server.peer(), "was reset by the other side");
      }
      server.dispose();
      source.awaitAllReleased();
    }
  }
}
