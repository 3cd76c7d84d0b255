package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Schedulers;

/**
 * Where QEMU's own stream comes out of the source, and goes into the destination: Unix domain
 * sockets, each for one connection, in a directory of their own.
 *
 * <p>They are used on threads that may block.
 */
final class DeviceStateSocket implements AutoCloseable {

  private static final int PIECE_BYTES = 64 << 10;

  private final Path directory;

  private DeviceStateSocket(Path directory) {
    this.directory = directory;
  }

  /**
   * Makes the directory.
   *
   * @param parent where, or null
   */
  static DeviceStateSocket in(@Nullable Path parent) throws IOException {
    // Only its owner can enter it.
    return new DeviceStateSocket(
        parent == null
            ? Files.createTempDirectory("pageflux")
            : Files.createTempDirectory(parent, "pageflux"));
  }

  private Path path(String name) {
    return directory.resolve(name);
  }

  /** A place where QEMU connects to and sends its state to. */
  final class Outlet implements AutoCloseable {

    private final ServerSocketChannel server;
    private final Path path = path("out");
    private @Nullable SocketChannel accepted; // guarded by this, as what follows
    private boolean closed;

    private Outlet() throws IOException {
      Files.deleteIfExists(path);
      server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
      try {
        server.bind(UnixDomainSocketAddress.of(path));
      } catch (IOException | RuntimeException e) {
        server.close();
        throw e;
      }
    }

    /** {@return what QEMU is to be told} */
    String uri() {
      return "unix:" + path;
    }

    /**
     * {@return all that comes until QEMU closes the connection} To be ended by {@link #close()},
     * and not by interrupting it: accept() of a thread that is interrupted just then loses the
     * connection that it has accepted (JDK 25). QEMU would fill its buffer, and wait for ever.
     */
    Mono<byte[]> read(int maxBytes) {
      return Mono.create(
          sink ->
              Thread.ofVirtual()
                  .name("pageflux-device-state")
                  .start(
                      () -> {
                        try {
                          sink.success(readAll(maxBytes));
                        } catch (IOException | RuntimeException e) {
                          sink.error(e);
                        }
                      }));
    }

    private byte[] readAll(int maxBytes) throws IOException {
      try (SocketChannel qemu = hold(server.accept())) {
        ByteArrayOutputStream state = new ByteArrayOutputStream();
        ByteBuffer piece = ByteBuffer.allocate(PIECE_BYTES);
        int count;
        while ((count = qemu.read(piece)) >= 0) {
          if (count > maxBytes - state.size()) {
            throw MigrationException.of(
                Kind.GUEST,
                ("the devices' state is longer than %d bytes; allow more, or have the memory in"
                        + " it, such as a graphics card's, made smaller")
                    .formatted(maxBytes));
          }
          state.write(piece.array(), 0, count);
          piece.clear();
        }
        return state.toByteArray();
      } catch (ClosedChannelException e) {
        return new byte[0]; // Only a cancelled reading is closed here, and nobody hears of it.
      }
    }

    private synchronized SocketChannel hold(SocketChannel qemu) throws IOException {
      accepted = qemu;
      if (closed) {
        qemu.close();
      }
      return qemu;
    }

    /** Ends a reading, too. */
    @Override
    public void close() throws IOException {
      synchronized (this) {
        closed = true;
        if (accepted != null) {
          accepted.close();
        }
      }
      server.close();
      Files.deleteIfExists(path);
    }
  }

  /** Begins to listen for a source. */
  Outlet outlet() throws IOException {
    return new Outlet();
  }

  /** {@return what a destination is to be told to listen at} */
  String inletUri() {
    return "unix:" + path("in");
  }

  /** Sends a state to a destination that listens, and closes the connection. */
  Mono<Void> write(List<byte[]> pieces) {
    return Mono.<Void>fromCallable(
            () -> {
              try (SocketChannel qemu =
                  SocketChannel.open(UnixDomainSocketAddress.of(path("in")))) {
                for (byte[] piece : pieces) {
                  ByteBuffer bytes = ByteBuffer.wrap(piece);
                  while (bytes.hasRemaining()) {
                    qemu.write(bytes);
                  }
                }
              }
              return null;
            })
        .subscribeOn(Schedulers.boundedElastic());
  }

  @Override
  public void close() throws IOException {
    Files.deleteIfExists(path("in"));
    Files.deleteIfExists(path("out"));
    Files.deleteIfExists(directory);
  }
}
