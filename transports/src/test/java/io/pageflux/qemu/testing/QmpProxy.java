package io.pageflux.qemu.testing;

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
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Stands between a migration and the QMP socket of a real QEMU, where something can go wrong at any
 * command. Gone when it is closed; one client at a time, as with QEMU.
 */
public final class QmpProxy implements AutoCloseable {

  /** When a command is told of. */
  public enum At {
    /** Before QEMU gets it. */
    COMMAND,
    /** When QEMU has answered it, and before that is passed on. */
    ANSWER
  }

  /** Is told of each command, on the thread that passes it on, which it may hold up. */
  public interface Watcher {
    /** A command, such as {@code stop}, has come so far. */
    void passes(At at, String command);
  }

  private static final Pattern NAME = Pattern.compile("\"execute\":\"([^\"]+)\"");

  private final Path path;
  private final Path target;
  private final ServerSocketChannel server;
  private final Thread thread;
  private final Watcher watcher;
  private volatile String last = "";
  private volatile @Nullable SocketChannel client;

  /** Begins to listen. */
  public QmpProxy(QemuProcess qemu, Watcher watcher) throws IOException {
    this.target = Path.of(qemu.qmpAddress().substring("unix:".length()));
    this.path = target.resolveSibling("proxy");
    this.watcher = watcher;
    server = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
    server.bind(UnixDomainSocketAddress.of(path));
    thread = Thread.ofVirtual().start(this::serve);
  }

  /** {@return its address, as that of a QMP socket} */
  public String address() {
    return "unix:" + path;
  }

  /** Cuts the connection that there is. */
  public void cut() {
    SocketChannel connected = client;
    if (connected != null) {
      close(connected);
    }
  }

  private void serve() {
    while (server.isOpen()) {
      try (SocketChannel from = server.accept();
          SocketChannel to = SocketChannel.open(UnixDomainSocketAddress.of(target))) {
        client = from;
        Thread answers = Thread.ofVirtual().start(() -> pass(to, from, At.ANSWER));
        pass(from, to, At.COMMAND);
        close(to);
        answers.join();
      } catch (IOException e) {
        // One of them has gone, or the test has ended.
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private void pass(SocketChannel from, SocketChannel to, At direction) {
    BufferedReader lines = new BufferedReader(Channels.newReader(from, StandardCharsets.UTF_8));
    try {
      for (String line; (line = lines.readLine()) != null; ) {
        if (direction == At.COMMAND) {
          Matcher name = NAME.matcher(line);
          last = name.find() ? name.group(1) : "";
        }
        if (direction == At.COMMAND || line.startsWith("{\"return\"")) {
          watcher.passes(direction, last);
        }
        ByteBuffer bytes = StandardCharsets.UTF_8.encode(line + "\n");
        while (bytes.hasRemaining()) {
          to.write(bytes);
        }
      }
    } catch (IOException e) {
      // It was cut.
    } finally {
      close(from);
      close(to);
    }
  }

  private static void close(SocketChannel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      // It is of no use any more.
    }
  }

  @Override
  public void close() throws IOException {
    server.close();
    cut();
    try {
      thread.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Files.deleteIfExists(path);
  }
}
