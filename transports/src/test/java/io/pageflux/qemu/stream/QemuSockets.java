package io.pageflux.qemu.stream;

import static io.pageflux.qemu.testing.QemuProcess.PATIENCE;

import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.testing.QemuProcess;
import io.pageflux.transport.TransportBuffer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;

/** Streams to and from a real QEMU over Unix sockets, and into memory. */
final class QemuSockets {

  private static final BatchGeometry GEOMETRY = new BatchGeometry(64, 256 << 10);

  /** Where RAM is nothing but RAM, whatever the devices' state: below the VGA, and above 1 MiB. */
  static final int LOW_END = 0xa0000;

  static final int HIGH_START = 1 << 20;

  private QemuSockets() {}

  /** A QEMU that waits for a migration at a socket. */
  static QemuProcess incoming(QemuProcess.Builder builder) {
    QemuProcess qemu = builder.with("-S", "-incoming", "defer").start();
    qemu.commands().setCapability("events", true).block(PATIENCE);
    return qemu;
  }

  static Path listen(QemuProcess destination) {
    Path socket = destination.directory().resolve("in");
    destination.commands().migrateIncoming("unix:" + socket).block(PATIENCE);
    return socket;
  }

  static String machineType(QemuProcess qemu) {
    String type =
        Objects.requireNonNull(
                qemu.qmp()
                    .execute("qom-get", Map.of("path", "/machine", "property", "type"))
                    .block(PATIENCE))
            .asText();
    return type.substring(0, type.length() - "-machine".length());
  }

  static void send(Path socket, Flux<TransportBuffer> stream) throws IOException {
    try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
      stream
          .doOnNext(
              buffer -> {
                try {
                  while (buffer.bytes().hasRemaining()) {
                    channel.write(buffer.bytes());
                  }
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                } finally {
                  buffer.release();
                }
              })
          .blockLast(PATIENCE);
    }
  }

  static Flux<TransportBuffer> chunks(byte[] stream) {
    int chunk = 64 << 10;
    return Flux.range(0, (stream.length + chunk - 1) / chunk)
        .map(
            i ->
                TransportBuffer.of(
                    ByteBuffer.wrap(
                        stream, i * chunk, Math.min(chunk, stream.length - i * chunk))));
  }

  /** Listens at a socket; the future is all that the first who connects sends. */
  static CompletableFuture<byte[]> capture(Path socket) throws IOException {
    ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(socket));
    CompletableFuture<byte[]> captured = new CompletableFuture<>();
    Thread.ofVirtual()
        .start(
            () -> {
              ByteArrayOutputStream out = new ByteArrayOutputStream(64 << 20);
              ByteBuffer room = ByteBuffer.allocate(1 << 20);
              try (server;
                  SocketChannel channel = server.accept()) {
                while (channel.read(room.clear()) >= 0) {
                  out.write(room.array(), 0, room.position());
                }
                captured.complete(out.toByteArray());
              } catch (IOException e) {
                captured.completeExceptionally(e);
              }
            });
    return captured;
  }

  static byte[] await(CompletableFuture<byte[]> captured) {
    try {
      return captured.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    } catch (InterruptedException | ExecutionException | TimeoutException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The RAM that a stream leaves at its end, and how many pages came in which way. */
  static final class Loaded implements AutoCloseable {

    final Map<PageKind, Integer> counts = new EnumMap<>(PageKind.class);
    private @Nullable GuestMemory memory;
    private @Nullable QemuStreamLoader loader;

    static Loaded of(byte[] stream) {
      Loaded loaded = new Loaded();
      try (SlabPool pool = new SlabPool(2, GEOMETRY)) {
        QemuStreams.read(chunks(stream), pool).doOnNext(loaded::take).blockLast(PATIENCE);
        if (pool.outstanding() != 0) {
          throw new AssertionError(pool + " after the stream's end");
        }
      }
      return loaded;
    }

    private void take(QemuElement element) {
      if (element instanceof QemuElement.RamBlocks blocks) {
        GuestMemory.Builder builder = GuestMemory.builder();
        blocks.layout().blocks().forEach(b -> builder.anonymous(b.name(), b.usedLengthBytes()));
        memory = builder.build();
        loader = new QemuStreamLoader(memory);
        loader.take(blocks);
      } else if (element instanceof QemuElement.Pages pages) {
        for (PageKind kind : PageKind.values()) {
          counts.merge(kind, pages.batch().count(kind), Integer::sum);
        }
        Objects.requireNonNull(loader).take(pages);
        pages.release();
      }
    }

    GuestMemory memory() {
      return Objects.requireNonNull(memory, "no RAM blocks came");
    }

    @Override
    public void close() {
      if (memory != null) {
        memory.close();
      }
    }
  }
}
