package io.pageflux.qemu.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/**
 * The far end of a serial port of a guest: a Unix socket that QEMU connects to when it starts.
 *
 * <p>Nothing that the guest writes is lost, and the guest waits if it writes faster than this end
 * reads. A thread of its own reads; it calls the two listeners, the second one exactly once, and
 * never both at the same time.
 */
final class SerialPort implements AutoCloseable {

  private final String name;
  private final Path socket;
  private final ServerSocketChannel server;
  private final Consumer<ByteBuffer> bytes;
  private final Runnable ended;

  /**
   * Listens, so QEMU can be started afterwards.
   *
   * @param directory where the socket is made; its path must be short
   * @param name of the character device, one for each port of a guest
   * @param bytes is given what arrives, in a buffer that it must not keep
   * @param ended runs when QEMU has closed its end, or this is closed
   */
  SerialPort(Path directory, String name, Consumer<ByteBuffer> bytes, Runnable ended) {
    this.name = name;
    this.socket = directory.resolve(name);
    this.bytes = bytes;
    this.ended = ended;
    try {
      server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
      server.bind(UnixDomainSocketAddress.of(socket));
    } catch (IOException e) {
      throw new UncheckedIOException("cannot listen at " + socket, e);
    }
    Thread.ofPlatform().daemon().name("serial-" + name).start(this::read);
  }

  /** The options that give QEMU this port; the order of ports is that of their options. */
  List<String> options() {
    return List.of(
        "-chardev", "socket,id=" + name + ",path=" + socket, "-serial", "chardev:" + name);
  }

  private void read() {
    try (SocketChannel connection = server.accept()) {
      ByteBuffer buffer = ByteBuffer.allocate(4096);
      while (connection.read(buffer) >= 0) {
        bytes.accept(buffer.flip());
        buffer.clear();
      }
    } catch (IOException e) {
      // Closed here, or QEMU was killed: the end in either case.
    } finally {
      ended.run();
    }
  }

  /** Stops waiting for QEMU. A connection ends with QEMU, which is to be ended first. */
  @Override
  public void close() throws IOException {
    server.close();
    Files.deleteIfExists(socket);
  }
}
