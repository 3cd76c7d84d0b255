package io.pageflux.qemu.migrate;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.pageflux.qemu.qmp.QmpSpec;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * What a QEMU might answer that cannot be had: an old one, or one whose connection is lost at a bad
 * moment. One client at a time, as with QEMU.
 */
final class FakeQmp implements AutoCloseable {

  /** The answer of a server that closes the connection instead. */
  static final String CLOSE = "close";

  /** The answer of a server that closes the connection and does not listen any more. */
  static final String END = "end";

  /** The answer of a server that hangs from then on: it does not even greet. */
  static final String HANG = "hang";

  private static final String GREETING =
      "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 3}},"
          + " \"capabilities\": []}}";

  private final ObjectMapper json = new ObjectMapper();
  private final Path directory;
  private final ServerSocketChannel server;
  private final Function<String, @Nullable String> answers;
  private final List<String> heard = new CopyOnWriteArrayList<>();
  private final Thread thread;
  private volatile boolean hanging;

  /**
   * Begins to serve.
   *
   * @param answers what is returned for a command, as JSON; null for an empty object
   */
  FakeQmp(Function<String, @Nullable String> answers) throws IOException {
    this.answers = answers;
    directory = Files.createTempDirectory(Path.of("/tmp"), "pfq");
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(directory.resolve("qmp")));
    thread = Thread.ofVirtual().start(this::serve);
  }

  QmpSpec spec() {
    return QmpSpec.of("unix:" + directory.resolve("qmp"));
  }

  /** {@return the commands, in order} */
  List<String> heard() {
    return heard;
  }

  private void serve() {
    while (server.isOpen() && !hanging) {
      try (SocketChannel client = server.accept()) {
        talk(client);
      } catch (IOException e) {
        // The client has gone, or the test has ended.
      }
    }
  }

  private void talk(SocketChannel client) throws IOException {
    write(client, GREETING);
    BufferedReader lines = new BufferedReader(Channels.newReader(client, StandardCharsets.UTF_8));
    for (String line; (line = lines.readLine()) != null; ) {
      JsonNode command = json.readTree(line);
      String name = command.path("execute").asText();
      heard.add(name);
      String answer = answers.apply(name);
      if (CLOSE.equals(answer)) {
        return;
      } else if (END.equals(answer)) {
        server.close();
        return;
      } else if (HANG.equals(answer)) {
        hanging = true;
        return;
      }
      write(
          client,
          "{\"return\": %s, \"id\": %s}"
              .formatted(answer == null ? "{}" : answer, command.path("id")));
    }
  }

  private static void write(SocketChannel client, String line) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap((line + "\r\n").getBytes(StandardCharsets.UTF_8));
    while (bytes.hasRemaining()) {
      client.write(bytes);
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Files.deleteIfExists(directory.resolve("qmp"));
    Files.delete(directory);
  }
}
