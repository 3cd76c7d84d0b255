package io.pageflux.examples.bench.qemu;

import io.pageflux.examples.cli.ChildJvm;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Two relay processes, one at each end of the link, as the command line starts them. Each is on the
 * host of its QEMU, and so next to it by a Unix socket, which costs both of them less than TCP.
 */
final class RelayPair implements AutoCloseable {

  private static final int PORT = 7002;

  private final Process destination;
  private final Process source;
  private final Path directory;

  private RelayPair(Process destination, Process source, Path directory) {
    this.destination = destination;
    this.source = source;
    this.directory = directory;
  }

  /** {@return where the source's QEMU migrates to} */
  String outgoing() {
    return outgoing(directory);
  }

  /** {@return where the destination's QEMU has to wait} */
  String incoming() {
    return incoming(directory);
  }

  private static String outgoing(Path directory) {
    return "unix:" + directory.resolve("outgoing");
  }

  private static String incoming(Path directory) {
    return "unix:" + directory.resolve("incoming");
  }

  /**
   * Starts both, and waits until they listen.
   *
   * @param directory for their sockets
   */
  static RelayPair start(ShapedLink link, Path directory) throws IOException {
    String there = ShapedLink.End.DESTINATION.address() + ":" + PORT;
    Process destination =
        start(link, ShapedLink.End.DESTINATION, "destination", there, incoming(directory));
    try {
      return new RelayPair(
          destination,
          start(link, ShapedLink.End.SOURCE, "source", outgoing(directory), there),
          directory);
    } catch (IOException | RuntimeException e) {
      destination.destroyForcibly();
      throw e;
    }
  }

  private static Process start(
      ShapedLink link, ShapedLink.End end, String role, String listen, String connect)
      throws IOException {
    List<String> command = new ArrayList<>(ChildJvm.command(List.of(), List.of()));
    command.addAll(List.of("qemu-relay", role, "--listen", listen, "--connect", connect));
    Process process =
        link.start(end, new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD));
    BufferedReader lines = process.inputReader(StandardCharsets.UTF_8);
    String first = lines.readLine();
    if (first == null) {
      process.destroyForcibly();
      throw new IOException("the relay at the " + role + " did not start");
    }
    Thread.ofPlatform().daemon().name("relay-" + role).start(() -> lines.lines().forEach(l -> {}));
    return process;
  }

  @Override
  public void close() {
    source.destroy();
    destination.destroy();
    source.onExit().join();
    destination.onExit().join();
  }
}
