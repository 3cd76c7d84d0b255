package io.pageflux.examples.bench.qemu;

import io.pageflux.qemu.qmp.QmpAddress;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpSpec;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import reactor.util.retry.Retry;

/**
 * A QEMU process at one end of the link, with the Linux guest that {@code .ci/linux-guest} makes.
 */
final class BenchGuest implements AutoCloseable {

  /**
   * What the guest is.
   *
   * @param directory where its kernel and its initial RAM disk are
   * @param memoryMib its RAM
   * @param fillMib the part that it fills
   * @param rewrittenPerSecond how much of that it rewrites in a second, in 10^6 bytes
   */
  record Kind(Path directory, int memoryMib, int fillMib, int rewrittenPerSecond) {

    private static final int BEAT_MILLIS = 10;
    private static final int CHECKED_PER_SECOND = 20;

    String kernelParameters() {
      return ("console=ttyS0 quiet tsc=reliable no_timer_check mitigations=off nokaslr panic=-1"
              + " pf.fill=%d pf.rate=%d pf.check=%d pf.beat=%d")
          .formatted(fillMib, rewrittenPerSecond, CHECKED_PER_SECOND, BEAT_MILLIS);
    }
  }

  private static final Duration PATIENCE = Duration.ofMinutes(2);

  private final Process process;
  private final QmpClient qmp;
  private final Path console;
  private final CountDownLatch beating = new CountDownLatch(1);
  private volatile long firstBeatNanos;
  private volatile long lastBeatNanos;

  private BenchGuest(Process process, QmpClient qmp, Path console) {
    this.process = process;
    this.qmp = qmp;
    this.console = console;
  }

  /**
   * Starts QEMU and waits until it takes commands.
   *
   * @param name of its files in the directory
   * @param incoming whether it waits for a migration
   */
  static BenchGuest start(
      ShapedLink link, ShapedLink.End end, Kind kind, Path directory, String name, boolean incoming)
      throws IOException {
    Path socket = directory.resolve(name + ".qmp");
    Path console = directory.resolve(name + ".console");
    Path messages = directory.resolve(name + ".messages");
    Files.deleteIfExists(socket);
    Files.deleteIfExists(console);
    List<String> command = new ArrayList<>();
    command.addAll(List.of("qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-nodefaults"));
    command.addAll(List.of("-display", "none", "-m", Integer.toString(kind.memoryMib())));
    command.addAll(List.of("-kernel", kind.directory().resolve("vmlinuz").toString()));
    command.addAll(List.of("-initrd", kind.directory().resolve("initrd").toString()));
    command.addAll(List.of("-append", kind.kernelParameters()));
    // The second port carries the heartbeat, which is timed as it is read.
    command.addAll(List.of("-serial", "file:" + console));
    command.addAll(List.of("-chardev", "stdio,id=beat,signal=off", "-serial", "chardev:beat"));
    command.addAll(List.of("-qmp", "unix:" + socket + ",server=on,wait=off"));
    if (incoming) {
      command.addAll(List.of("-incoming", "defer"));
    }
    Process process = link.start(end, new ProcessBuilder(command).redirectError(messages.toFile()));
    try {
      BenchGuest guest = new BenchGuest(process, connect(socket, process, messages), console);
      Thread.ofPlatform().daemon().name("heartbeat-" + name).start(guest::listen);
      return guest;
    } catch (IOException | RuntimeException e) {
      process.destroyForcibly();
      throw e;
    }
  }

  private static QmpClient connect(Path socket, Process process, Path messages) throws IOException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!Files.exists(socket)) {
      if (!process.isAlive() || System.nanoTime() > end) {
        throw new IOException("QEMU did not start: " + Files.readString(messages));
      }
      pause();
    }
    return Objects.requireNonNull(
        QmpClient.connect(
                QmpSpec.of(new QmpAddress.Unix(socket)).withTimeout(Duration.ofSeconds(30)))
            .retryWhen(Retry.fixedDelay(20, Duration.ofMillis(50)))
            .block());
  }

  private void listen() {
    byte[] beats = new byte[256];
    try (InputStream in = process.getInputStream()) {
      while (in.read(beats) > 0) {
        lastBeatNanos = System.nanoTime();
        if (firstBeatNanos == 0) {
          firstBeatNanos = lastBeatNanos;
          beating.countDown();
        }
      }
    } catch (IOException e) {
      // QEMU is gone.
    }
  }

  QmpClient qmp() {
    return qmp;
  }

  /** When the guest was heard last. */
  long lastBeatNanos() {
    return lastBeatNanos;
  }

  /** Waits for the guest to be heard. {@return when that was} */
  long awaitFirstBeat() throws IOException {
    try {
      if (!beating.await(PATIENCE.toSeconds(), TimeUnit.SECONDS)) {
        throw new IOException("the guest does not run");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
    return firstBeatNanos;
  }

  /** Waits until the guest has filled its memory. */
  void awaitReady() throws IOException {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!Files.readString(console, StandardCharsets.ISO_8859_1).contains("PF READY")) {
      if (!process.isAlive() || System.nanoTime() > end) {
        throw new IOException("the guest did not boot; its console is in " + console);
      }
      pause();
    }
  }

  private static void pause() throws IOException {
    try {
      Thread.sleep(50);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
  }

  @Override
  public void close() {
    qmp.close().onErrorComplete().block();
    process.destroyForcibly();
    process.onExit().join();
  }
}
