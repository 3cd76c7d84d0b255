package io.pageflux.examples.bench.qemu;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * Two network namespaces with a link of a given rate between them. Unix sockets and files are
 * shared with the rest of the machine.
 *
 * <p>The rate counts Ethernet frames: TCP brings about 95 % of it as payload. The burst is what 2
 * ms bring, and at least one segment of offloaded TCP; at most 30 ms more wait in the queue, and
 * what would wait longer is dropped, as in a switch.
 */
final class ShapedLink implements AutoCloseable {

  /** One end of the link. */
  enum End {
    SOURCE("pageflux-a", "10.77.0.1"),
    DESTINATION("pageflux-b", "10.77.0.2");

    private final String namespace;
    private final String address;

    End(String namespace, String address) {
      this.namespace = namespace;
      this.address = address;
    }

    String address() {
      return address;
    }
  }

  /** What stands for a link that is not shaped. */
  static final String UNLIMITED = "unlimited";

  private static final Pattern RATE = Pattern.compile("([1-9][0-9]{0,5})([gmk])bit");
  private static final String DEVICE = "pageflux0";
  private static final int LEAST_BURST_BYTES = 64 << 10;
  private static final int BURSTS_PER_SECOND = 500;

  private final List<Process> processes = new ArrayList<>();
  private boolean stopped;

  private ShapedLink() {}

  /** Whether something is a rate as {@code tc} writes it, or {@link #UNLIMITED}. */
  static boolean isRate(String rate) {
    return rate.equals(UNLIMITED) || RATE.matcher(rate).matches();
  }

  /**
   * Makes the link, not shaped yet.
   *
   * @throws IOException if that cannot be done; says why
   */
  static ShapedLink make() throws IOException {
    if (!Files.isWritable(Path.of("/run")) || !isInstalled("ip") || !isInstalled("tc")) {
      throw new IOException(
          "network namespaces are made by root with iproute2 (apt-get install iproute2)");
    }
    remove(); // what a run before left that was killed
    ShapedLink link = new ShapedLink();
    try {
      for (End end : End.values()) {
        run("ip", "netns", "add", end.namespace);
      }
      run(
          "ip link add %s netns %s type veth peer name %s netns %s"
              .formatted(DEVICE, End.SOURCE.namespace, DEVICE, End.DESTINATION.namespace)
              .split(" "));
      for (End end : End.values()) {
        run("ip", "-n", end.namespace, "link", "set", "lo", "up");
        run("ip", "-n", end.namespace, "address", "add", end.address + "/24", "dev", DEVICE);
        run("ip", "-n", end.namespace, "link", "set", DEVICE, "up");
      }
      return link;
    } catch (IOException e) {
      link.close();
      throw e;
    }
  }

  private static boolean isInstalled(String program) {
    return List.of("/usr/sbin", "/sbin", "/usr/bin", "/bin").stream()
        .anyMatch(directory -> Files.isExecutable(Path.of(directory, program)));
  }

  /** Gives both directions another rate. */
  void shape(String rate) throws IOException {
    for (End end : End.values()) {
      List<String> command =
          new ArrayList<>(List.of("tc", "-n", end.namespace, "qdisc", "replace", "dev", DEVICE));
      command.add("root");
      if (rate.equals(UNLIMITED)) {
        command.add("noqueue");
      } else {
        long burst = Math.max(LEAST_BURST_BYTES, bits(rate) / 8 / BURSTS_PER_SECOND);
        command.addAll(
            List.of("tbf", "rate", rate, "burst", Long.toString(burst), "latency", "30ms"));
      }
      run(command.toArray(String[]::new));
    }
  }

  private static long bits(String rate) {
    var matcher = RATE.matcher(rate);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(rate);
    }
    long unit =
        switch (matcher.group(2)) {
          case "g" -> 1_000_000_000;
          case "m" -> 1_000_000;
          default -> 1_000;
        };
    return Long.parseLong(matcher.group(1)) * unit;
  }

  /**
   * Starts a program at one end.
   *
   * @param program its redirections stay as they are
   * @throws IOException if it cannot be started, or everything was {@linkplain #stop() stopped}
   */
  synchronized Process start(End end, ProcessBuilder program) throws IOException {
    if (stopped) {
      throw new IOException("interrupted");
    }
    Process process = program.command(at(end, program.command())).start();
    processes.removeIf(known -> !known.isAlive());
    processes.add(process);
    return process;
  }

  /** Ends all programs, and starts no more. For any thread. */
  synchronized void stop() {
    stopped = true;
    processes.forEach(Process::destroyForcibly);
  }

  private static List<String> at(End end, List<String> command) {
    List<String> inside = new ArrayList<>(List.of("ip", "netns", "exec", end.namespace));
    inside.addAll(command);
    return inside;
  }

  /** {@return the bytes that the source has sent, frames and all} */
  long bytesFromSource() throws IOException {
    return Long.parseLong(
        run(
            at(End.SOURCE, List.of("cat", "/sys/class/net/" + DEVICE + "/statistics/tx_bytes"))
                .toArray(String[]::new)));
  }

  private static String run(String... command) throws IOException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    process.getOutputStream().close();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    try {
      if (process.waitFor() != 0) {
        throw new IOException(String.join(" ", command) + ": " + output.strip());
      }
    } catch (InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
    return output.strip();
  }

  /** Ends all programs and removes the link. */
  @Override
  public void close() throws IOException {
    stop();
    remove();
  }

  private static void remove() throws IOException {
    for (End end : End.values()) {
      if (Files.exists(Path.of("/run/netns", end.namespace))) {
        run("ip", "netns", "delete", end.namespace);
      }
    }
  }
}
