package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Each failure is one line and an exit code; nothing hangs. */
class BadInputEndToEndTest {

  private static final byte[] GARBAGE =
      "HTTP/1.1 400 Bad Request\r\n\r\n".repeat(100).getBytes(StandardCharsets.US_ASCII);

  @TempDir Path folder = Path.of("");
  private Path image = Path.of("");

  @BeforeEach
  void makeImage() throws IOException {
    image = file("image", 1 << 20);
  }

  private Path file(String name, long size) throws IOException {
    Path path = folder.resolve(name);
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.setLength(size);
    }
    return path;
  }

  private static Cli.Result send(Path memory, Object port, String... more) throws Exception {
    String[] arguments = {"send", "--connect=" + port, "--memory=" + memory};
    String[] all = java.util.Arrays.copyOf(arguments, arguments.length + more.length);
    System.arraycopy(more, 0, all, arguments.length, more.length);
    return Cli.call(all);
  }

  private static Cli.Result receive(Path memory, Object port, String size) throws Exception {
    return Cli.call(
        "receive", "--listen=" + port, "--memory=" + memory, "--size=" + size, "--timeout=100ms");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--auto-converge --intent=short-downtime | give one of them",
        "--auto-converge --ramp-downtime | give one of them",
        "--ramp-downtime=2s..1s | it goes down",
        "--cpu-throttle-initial=30 | of the rule of --auto-converge, which is not given",
        "--intent=short-downtime --cpu-throttle-tailslow | of the rule of --auto-converge",
        "--auto-converge --max-cpu-throttle=19 | --max-cpu-throttle must be 20 to 99",
        "--auto-converge --throttle-trigger-threshold=0 | must be 1 to 100",
        "--auto-converge | needs --on-throttle or --throttle-pid",
        "--intent=fast | 'fast' is not an intent",
        "--intent=finish-within=0s | not long enough",
        "--on-throttle=true --throttle-pid=2 | give one of them",
        "--pause-before-switchover | needs --control",
        "--pause-before-switchover=0s --control=unix:no | must be more than 0",
        "--throttle-pid=1 | must be the process that writes the image",
        "--throttle-pid=4194305 | there is no process 4194305",
      })
  void whatMakesNoSenseIsRefusedBeforeAnythingIsDone(String arguments, String part)
      throws Exception {
    Cli.Result result = send(image, 1, arguments.split(" "));
    assertThat(result.exitCode()).as("%s", result).isEqualTo(2);
    assertThat(String.join(" ", result.messages())).contains(part);
  }

  private static ServerSocket listen() throws IOException {
    return new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
  }

  private static int closedPort() throws IOException {
    try (ServerSocket socket = listen()) {
      return socket.getLocalPort();
    }
  }

  @Test
  void anImageThatIsMissing() throws Exception {
    send(folder.resolve("none"), 1).isFailure(1, "none does not exist");
  }

  @Test
  void anImageThatIsNoFile() throws Exception {
    send(folder, 1).isFailure(1, folder + " is not a regular file");
    send(Path.of("/dev/null"), 1).isFailure(1, "/dev/null is not a regular file");
    receive(Path.of("/dev/null"), 0, "1m").isFailure(1, "/dev/null is not a regular file");
  }

  @Test
  void anImageOfAnOddSize() throws Exception {
    send(file("odd", 5000), 1).isFailure(1, "5000", "multiple of its page size 4096");
    send(file("empty", 0), 1).isFailure(1, "size 0 is not a positive multiple");
    receive(folder.resolve("new"), 0, "5000").isFailure(1, "5000", "multiple");
    assertThat(folder.resolve("new")).doesNotExist();
  }

  @Test
  void anImageOfAnotherSizeThanWasSaid() throws Exception {
    receive(image, 0, "2m").isFailure(1, image + " has 1048576 bytes, but 2097152 are wanted");
    assertThat(Files.size(image)).isEqualTo(1 << 20);
  }

  @Test
  void aPortThatIsInUse() throws Exception {
    try (ServerSocket taken = listen()) {
      receive(folder.resolve("new"), taken.getLocalPort(), "1m")
          .isFailure(1, "127.0.0.1:" + taken.getLocalPort(), "another socket listens on this port");
      assertThat(folder.resolve("new")).doesNotExist();
    }
  }

  @Test
  void aPortWhereNobodyListens() throws Exception {
    int port = closedPort();
    send(image, port).isFailure(1, "127.0.0.1:" + port, "refused");
  }

  @Test
  void aHostThatDoesNotExist() throws Exception {
    send(image, "no-such-host.invalid:4444").isFailure(1, "no-such-host.invalid");
  }

  @Test
  void nobodyWhoConnects() throws Exception {
    receive(folder.resolve("new"), 0, "1m")
        .isFailure(1, "no source has connected to 127.0.0.1:", "within 100 ms");
    assertThat(folder.resolve("new")).doesNotExist();
  }

  @Test
  void aReceiverThatIsInterruptedBeforeAnybodyConnects() throws Exception {
    Path copy = folder.resolve("copy");
    try (Cli receiver = Cli.start("receive", "--listen=0", "--memory=" + copy, "--size=1m")) {
      receiver.awaitLine("listening on");
      receiver.signal("INT");
      receiver.result().isFailure(130, "interrupted while waiting for a source");
    }
    assertThat(copy).doesNotExist();
  }

  @Test
  void aDestinationThatSpeaksSomethingElse() throws Exception {
    try (ServerSocket server = listen()) {
      Thread.ofVirtual().start(() -> answer(server, GARBAGE));
      send(image, server.getLocalPort())
          .isFailure(1, "127.0.0.1:" + server.getLocalPort(), "does not speak Pageflux", "HTTP");
    }
  }

  @Test
  void aDestinationThatHangsUp() throws Exception {
    try (ServerSocket server = listen()) {
      Thread.ofVirtual().start(() -> answer(server, new byte[0]));
      send(image, server.getLocalPort()).isFailure(1, "the connection ended");
    }
  }

  private static void answer(ServerSocket server, byte[] bytes) {
    try (Socket socket = server.accept()) {
      OutputStream out = socket.getOutputStream();
      out.write(bytes);
      out.flush();
      socket.shutdownOutput();
      socket.getInputStream().transferTo(OutputStream.nullOutputStream());
    } catch (IOException e) {
      // The other side has gone away first.
    }
  }

  @Test
  void aDestinationThatSaysNothing() throws Exception {
    try (ServerSocket server = listen()) {
      send(image, server.getLocalPort(), "--peer-timeout=300ms").isFailure(1, "300 ms");
    }
  }

  @ParameterizedTest
  @CsvSource({
    "garbage, does not speak Pageflux",
    "nothing, the connection ended",
    "silence, 300 ms",
  })
  void aSourceThatIsNone(String kind, String message) throws Exception {
    Path copy = folder.resolve("copy");
    try (Cli receiver =
        Cli.start(
            "receive", "--listen=0", "--memory=" + copy, "--size=1m", "--peer-timeout=300ms")) {
      int port = Integer.parseInt(receiver.awaitLine("listening on \\S+:(\\d+)").group(1));
      try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
        switch (kind) {
          case "garbage" -> socket.getOutputStream().write(GARBAGE);
          case "nothing" -> socket.shutdownOutput();
          default -> {}
        }
        receiver.result().isFailure(1, message);
      }
      assertThat(copy).doesNotExist();
    }
  }

  @Test
  void imagesOfDifferentSizes() throws Exception {
    try (Cli receiver =
        Cli.start("receive", "--listen=0", "--memory=" + folder.resolve("copy"), "--size=2m")) {
      String address = receiver.awaitLine("listening on (\\S+)").group(1);
      send(image, address).isFailure(1, "1048576", "2097152");
      receiver.result().isFailure(1, "1048576", "2097152");
    }
  }

  @Test
  void aReportThatCannotBeWritten() throws Exception {
    send(image, 1, "--json=" + folder.resolve("no/such/folder.json"))
        .isFailure(1, "the report cannot be written");
  }

  @Test
  void optionsThatMakeNoSense() throws Exception {
    Cli.call("send", "--connect=1").isFailure(2, "--memory", "see 'pageflux send --help'");
    Cli.call("demo", "--size=huge").isFailure(2, "--size", "'huge' is not a size");
    Cli.call("demo", "--size=5000").isFailure(2, "--size must be at least 65536");
    Cli.call("demo", "--postcopy-after=1").isFailure(2, "--postcopy-after goes with --postcopy");
    Cli.call("demo", "--postcopy", "--checkpoint=1s").isFailure(2, "--postcopy does without");
    Cli.call("demo", "--break-at=100%").isFailure(2, "--break-at must be 1% to 99%");
    Cli.call("fault-bench", "--runs=0").isFailure(2, "--runs is at least 1");
    Cli.call("fault-bench", "--replay=-1").isFailure(2, "--replay at least 0");
    Cli.call("nonsense").isFailure(2, "nonsense");
    Cli.call().isFailure(2, "a command is needed: demo, send, receive, ctl, inspect");
  }

  @Test
  void aStreamThatIsNone() throws Exception {
    Cli.call("inspect", folder.resolve("none").toString()).isFailure(1, "none does not exist");
    Cli.call("inspect", folder.toString()).isFailure(1, "is a folder");
    Path garbage = Files.write(folder.resolve("garbage"), GARBAGE);
    Cli.Result result = Cli.call("inspect", garbage.toString());
    assertThat(result.exitCode()).isEqualTo(1);
    assertThat(result.err()).isEmpty();
    assertThat(result.out().getLast()).startsWith("error: ");
    Cli.call("qemu-inspect", folder.toString()).isFailure(1, "is a folder");
    Cli.Result qemu = Cli.call("qemu-inspect", garbage.toString());
    assertThat(qemu.exitCode()).isEqualTo(1);
    assertThat(qemu.err()).isEmpty();
    assertThat(qemu.out().getLast()).startsWith("error: ").contains("no QEMU migration stream");
  }

  @Test
  void theStackTraceIsShownOnRequest() throws Exception {
    Cli.Result result = send(folder.resolve("none"), 1, "--stacktrace");
    assertThat(result.messages()).hasSizeGreaterThan(2);
    assertThat(String.join("\n", result.err())).contains("\tat io.pageflux.");
  }

  @Test
  void helpAndVersionGoToStandardOutput() throws Exception {
    Cli.Result top = Cli.run("--help");
    assertThat(top.exitCode()).isZero();
    assertThat(top.err()).isEmpty();
    List<String> commands =
        top.out().stream()
            .dropWhile(line -> !line.equals("Commands:"))
            .takeWhile(line -> !line.isEmpty())
            .filter(line -> line.matches("  \\S.*"))
            .map(line -> line.strip().split(" ")[0])
            .toList();
    assertThat(commands).contains("demo", "send", "receive", "qemu-inspect", "fault-bench");
    for (String command : commands) {
      // A percent sign in a description must not be taken for a format.
      Cli.Result help =
          command.equals("recovery-bench")
              ? Cli.run(command, "--help")
              : Cli.call(command, "--help");
      assertThat(help.exitCode()).as(command).isZero();
      assertThat(help.err()).isEmpty();
      assertThat(help.stdout()).contains("Usage: pageflux " + command, "Exit codes:");
    }
    Cli.Result version = Cli.call("--version");
    assertThat(version.exitCode()).isZero();
    assertThat(version.stdout()).matches("(?s)pageflux \\d+\\..*Java 2\\d.*");
  }
}
