package io.pageflux.qemu.capture;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;
import static org.assertj.core.api.Assertions.assertThat;

import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.TcpAcceptor;
import io.pageflux.transport.tcp.TcpSpec;
import io.pageflux.transport.tcp.TcpTransport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import java.util.stream.Stream;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/** A capture over real sockets. */
final class CaptureRig implements AutoCloseable {

  private final Path directory;
  private final TcpAcceptor acceptor;
  private final Queue<Connection> connections = new ConcurrentLinkedQueue<>();
  private final CompletableFuture<CaptureInfo> end = new CompletableFuture<>();
  private final Sinks.Empty<Void> stop = Sinks.empty();
  private final Disposable capture;

  CaptureRig(CaptureSpec spec) {
    directory = spec.directory();
    Acceptor listening = TcpTransport.listen(TcpSpec.loopback(0)).block(PATIENCE);
    acceptor = (TcpAcceptor) Objects.requireNonNull(listening);
    capture =
        QemuCapture.of(spec, watched(acceptor), stop.asMono())
            .last()
            .subscribe(end::complete, end::completeExceptionally);
  }

  private Acceptor watched(Acceptor watched) {
    return new Acceptor() {
      @Override
      public Mono<? extends Connection> accept() {
        return Mono.<Connection>from(watched.accept()).doOnNext(connections::add);
      }

      @Override
      public String address() {
        return watched.address();
      }

      @Override
      public void dispose() {
        watched.dispose();
      }
    };
  }

  int port() {
    return acceptor.port();
  }

  /** {@return where the source's QEMU is to migrate to} */
  String uri() {
    return "tcp:127.0.0.1:" + port();
  }

  /** Cuts QEMU's connection. */
  void cut() {
    connections.forEach(Connection::dispose);
  }

  void stop() {
    stop.tryEmitEmpty();
  }

  void cancel() {
    capture.dispose();
  }

  /** {@return the complete capture} */
  CaptureInfo complete() {
    try {
      CaptureInfo info = end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      assertThat(info.complete()).isTrue();
      assertLeavesNothing(directory);
      return info;
    } catch (InterruptedException | ExecutionException | TimeoutException e) {
      throw new AssertionError(e);
    }
  }

  /** {@return why it failed} */
  Throwable failure() {
    try {
      CaptureInfo info = end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      throw new AssertionError("complete: " + info);
    } catch (ExecutionException e) {
      assertLeavesNothing(directory);
      return Objects.requireNonNull(e.getCause());
    } catch (InterruptedException | TimeoutException e) {
      throw new AssertionError(e);
    }
  }

  /** No descriptor, no mapping and no thread of a capture that has ended. */
  static void assertLeavesNothing(Path directory) {
    try {
      awaitThreads();
      String text = directory.toRealPath().toString();
      try (Stream<Path> open = Files.list(Path.of("/proc/self/fd"))) {
        assertThat(open.map(CaptureRig::target).filter(name -> name.startsWith(text))).isEmpty();
      }
      assertThat(Files.readAllLines(Path.of("/proc/self/maps")))
          .noneMatch(line -> line.contains(text));
    } catch (IOException | InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  private static void awaitThreads() throws InterruptedException {
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().equals("pageflux-capture")) {
        assertThat(thread.join(PATIENCE)).as("%s ends", thread).isTrue();
      }
    }
  }

  private static String target(Path link) {
    try {
      return Files.readSymbolicLink(link).toString();
    } catch (IOException e) {
      return ""; // closed meanwhile
    }
  }

  /** {@return the names of a directory's files, sorted} */
  static List<String> names(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }

  static MigrateStatus await(QemuProcess source, Predicate<MigrateStatus> condition) {
    return Objects.requireNonNull(
        Mono.defer(source.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(condition)
            .blockFirst(PATIENCE));
  }

  @Override
  public void close() {
    capture.dispose();
    acceptor.dispose();
  }
}
