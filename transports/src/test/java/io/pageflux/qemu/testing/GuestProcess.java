package io.pageflux.qemu.testing;

import java.io.BufferedReader;
import java.io.EOFException;
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
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A QEMU process, its messages in a file, and a QMP connection that only the harness uses.
 *
 * <p>QEMU connects to the harness, so there is nothing to wait or to try again for: it is either
 * there, or has ended, and then the error says what it wrote.
 */
final class GuestProcess implements AutoCloseable {

  private static final List<String> COMMAND =
      List.of("qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-nodefaults", "-display", "none");

  private final Process process;
  private final Path messages;
  private final SocketChannel control;
  private final BufferedReader replies;

  private GuestProcess(Process process, Path messages, SocketChannel control) {
    this.process = process;
    this.messages = messages;
    this.control = control;
    this.replies = new BufferedReader(Channels.newReader(control, StandardCharsets.UTF_8));
  }

  /**
   * Starts QEMU and waits until it takes commands.
   *
   * @throws IOException if it cannot be started, or ends at once; says why
   */
  static GuestProcess start(Path directory, List<String> options) throws IOException {
    Path socket = directory.resolve("control");
    Path messages = directory.resolve("messages");
    List<String> command = new ArrayList<>(COMMAND);
    command.addAll(List.of("-qmp", "unix:" + socket));
    command.addAll(options);
    try (ServerSocketChannel server = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      server.bind(UnixDomainSocketAddress.of(socket));
      Process process =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(messages.toFile())
              .start();
      // An end of QEMU before it connects must not leave the harness waiting.
      process.onExit().thenRun(() -> closeQuietly(server));
      try {
        GuestProcess started = new GuestProcess(process, messages, server.accept());
        started.replies.readLine(); // the greeting
        started.execute("{'execute': 'qmp_capabilities'}");
        return started;
      } catch (IOException e) {
        process.destroyForcibly();
        throw new IOException("QEMU did not start: " + Files.readString(messages), e);
      }
    } finally {
      Files.deleteIfExists(socket);
    }
  }

  /**
   * Has QEMU execute a command, in JSON, and waits for its reply; events are skipped.
   *
   * @return the reply as QEMU wrote it
   * @throws IOException if QEMU refuses it, or has ended
   */
  synchronized String execute(String command) throws IOException {
    ByteBuffer bytes = StandardCharsets.UTF_8.encode(command + "\n");
    while (bytes.hasRemaining()) {
      control.write(bytes);
    }
    for (String line = replies.readLine(); line != null; line = replies.readLine()) {
      if (line.startsWith("{\"return\"")) {
        return line;
      }
      if (line.startsWith("{\"error\"")) {
        throw new IOException(command + ": " + line);
      }
    }
    throw new EOFException("QEMU ended before it replied to " + command + ": " + messages());
  }

  /** What QEMU has written to its standard output and error up to now. */
  String messages() throws IOException {
    return Files.readString(messages);
  }

  private static void closeQuietly(ServerSocketChannel server) {
    try {
      server.close();
    } catch (IOException e) {
      // It is no longer of use.
    }
  }

  /** Kills QEMU, and returns when it is gone. */
  @Override
  public void close() throws IOException {
    process.destroyForcibly();
    control.close();
    try {
      process.waitFor(10, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
