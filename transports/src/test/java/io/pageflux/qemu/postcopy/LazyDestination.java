package io.pageflux.qemu.postcopy;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;

import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.tcp.SocketTransport;
import io.pageflux.transport.tcp.UnixSpec;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;

/** A QEMU that a guest is resumed in, and the resuming. */
final class LazyDestination implements AutoCloseable {

  /** As the command has it: what waits in the socket cannot be overtaken. */
  static final int SEND_BUFFER_BYTES = 64 << 10;

  private final QemuProcess qemu;
  private final CompletableFuture<PostcopyInfo> end = new CompletableFuture<>();
  private volatile String socket = "in0";
  private int cuts;
  private long cutAfterBytes;
  private volatile @Nullable Connection connection;
  private volatile @Nullable PostcopyInfo last;
  private @Nullable Disposable resuming;
  private int sockets;

  LazyDestination(QemuProcess.Builder builder) {
    this(builder, true);
  }

  LazyDestination(QemuProcess.Builder builder, boolean postcopy) {
    qemu = builder.with("-incoming", "defer").start();
    qemu.commands()
        .setCapabilities(
            Map.of("postcopy-ram", postcopy, "postcopy-blocktime", postcopy, "events", true))
        .block(PATIENCE);
    qemu.commands().migrateIncoming(uri()).block(PATIENCE);
  }

  private String uri() {
    return "unix:" + qemu.directory().resolve(socket);
  }

  QemuProcess qemu() {
    return qemu;
  }

  /** Connects to wherever QEMU listens last. */
  Connector connector() {
    return () ->
        Mono.defer(
            () ->
                Mono.<Connection>from(
                        SocketTransport.connector(
                                UnixSpec.of(qemu.directory().resolve(socket))
                                    .withSocketBuffers(SEND_BUFFER_BYTES, 0))
                            .connect())
                    .map(made -> new CutConnection(made, nextCut()))
                    .doOnNext(made -> connection = made));
  }

  /** Begins to resume. */
  LazyDestination resume(PostcopySpec spec) {
    resuming =
        QemuPostcopy.resume(spec.withProgressInterval(Duration.ofMillis(10)), connector())
            .doOnNext(this::note)
            .last()
            .subscribe(end::complete, end::completeExceptionally);
    return this;
  }

  private synchronized void note(PostcopyInfo info) {
    last = info;
    notifyAll();
  }

  /** {@return the first progress that is as wanted} */
  synchronized PostcopyInfo awaitProgress(Predicate<PostcopyInfo> wanted) {
    long until = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      PostcopyInfo info = last;
      if (info != null && wanted.test(info)) {
        return info;
      }
      long left = TimeUnit.NANOSECONDS.toMillis(until - System.nanoTime());
      if (left <= 0 || end.isCompletedExceptionally()) {
        throw new AssertionError("last: " + info + "; QEMU: " + qemu.errors());
      }
      try {
        wait(Math.min(left, 100));
      } catch (InterruptedException e) {
        throw new AssertionError(e);
      }
    }
  }

  /** Cuts the next connections, each after so many bytes. */
  LazyDestination cut(int times, long bytes) {
    cuts = times;
    cutAfterBytes = bytes;
    return this;
  }

  private synchronized long nextCut() {
    return cuts-- > 0 ? cutAfterBytes : Long.MAX_VALUE;
  }

  /** Cuts the connection. */
  void cut() {
    Objects.requireNonNull(connection).dispose();
  }

  /** Cancels the resuming. */
  void cancel() {
    Objects.requireNonNull(resuming).dispose();
  }

  /** {@return the last progress} */
  @Nullable PostcopyInfo last() {
    return last;
  }

  MigrateStatus await(Predicate<MigrateStatus> condition) {
    return Objects.requireNonNull(
        Mono.defer(qemu.commands()::queryMigrate)
            .repeatWhen(answered -> answered.delayElements(Duration.ofMillis(5)))
            .filter(condition)
            .blockFirst(PATIENCE));
  }

  void awaitStatus(String status) {
    try {
      await(is -> is.status().equals(status));
    } catch (IllegalStateException e) {
      throw new AssertionError(
          "QEMU is %s and not %s; last: %s; QEMU: %s"
              .formatted(await(any -> true).info(), status, last, qemu.errors()),
          e);
    }
  }

  /** Has QEMU wait for a connection that goes on, once it has noticed that the last one is lost. */
  void recover() {
    if (sockets > 0) {
      awaitProgress(info -> info.recoveries() == sockets);
    }
    awaitStatus("postcopy-paused");
    String next = "in" + ++sockets;
    String before = socket;
    socket = next;
    try {
      qemu.qmp().execute("migrate-recover", Map.of("uri", uri())).block(PATIENCE);
    } catch (RuntimeException e) {
      socket = before;
      throw e;
    }
  }

  PostcopyInfo complete() {
    try {
      return end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (InterruptedException | ExecutionException | TimeoutException e) {
      throw new AssertionError("last: " + last + "; QEMU: " + qemu.errors(), e);
    }
  }

  Throwable failure() {
    try {
      PostcopyInfo info = end.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
      throw new AssertionError("complete: " + info);
    } catch (ExecutionException e) {
      return Objects.requireNonNull(e.getCause());
    } catch (InterruptedException | TimeoutException e) {
      throw new AssertionError(e);
    }
  }

  @Override
  public void close() {
    if (resuming != null) {
      resuming.dispose();
    }
    qemu.close();
  }
}
