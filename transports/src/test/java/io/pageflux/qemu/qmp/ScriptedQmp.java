package io.pageflux.qemu.qmp;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/**
 * A server that says what a test wants, whatever it hears: for each line that it gets it sends the
 * next part of its script, the first part without being asked.
 */
final class ScriptedQmp implements AutoCloseable {

  static final String GREETING =
      "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 22, \"minor\": 2, \"major\": 7}, \"package\":"
          + " \"x\"}, \"capabilities\": [\"oob\"]}}\r\n";
  static final String NEGOTIATED = "{\"return\": {}, \"id\": 0}\r\n";

  private final Path directory;
  private final ServerSocketChannel server;
  private final CountDownLatch closed = new CountDownLatch(1);
  private final Thread thread;

  /** When the script is at its end. */
  enum Then {
    CLOSE,
    STAY
  }

  /** Serves one client. */
  ScriptedQmp(List<byte[]> script, Then then) throws IOException {
    directory = Files.createTempDirectory(Path.of("/tmp"), "pfq");
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(path()));
    thread = Thread.ofVirtual().start(() -> serve(script, then));
  }

  static ScriptedQmp saying(Then then, String... script) throws IOException {
    return new ScriptedQmp(
        List.of(script).stream().map(s -> s.getBytes(StandardCharsets.ISO_8859_1)).toList(), then);
  }

  private Path path() {
    return directory.resolve("qmp");
  }

  QmpSpec spec() {
    return QmpSpec.of("unix:" + path());
  }

  private void serve(List<byte[]> script, Then then) {
    try (SocketChannel client = server.accept()) {
      for (byte[] part : script) {
        ByteBuffer bytes = ByteBuffer.wrap(part);
        while (bytes.hasRemaining()) {
          client.write(bytes);
        }
        if (part == script.getLast() && then == Then.CLOSE) {
          return;
        }
        readLine(client);
      }
      while (client.read(ByteBuffer.allocate(4096)) >= 0) {}
    } catch (IOException e) {
      // The client has gone, which some tests are about.
    } finally {
      closed.countDown();
    }
  }

  /** Waits until the connection is closed. */
  void awaitClosed() throws InterruptedException {
    closed.await();
  }

  private static void readLine(SocketChannel client) throws IOException {
    ByteBuffer one = ByteBuffer.allocate(1);
    do {
      one.clear();
      if (client.read(one) < 0) {
        throw new IOException("the client has closed");
      }
    } while (one.get(0) != '\n');
  }

  @Override
  public void close() throws IOException {
    server.close();
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Files.deleteIfExists(path());
    Files.delete(directory);
  }
}
