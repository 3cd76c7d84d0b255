package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageEndToEndTest {

  private static final int SIZE = 64 << 20;
  private static final int PAGE = 4096;
  private static final String GOES_ON = "(the guest goes on at the source)";
  private static final String DOES_NOT_RUN =
      "(the guest does not run here and must not be started here)";

  @TempDir Path folder = Path.of("");
  private Path image = Path.of("");
  private Path copy = Path.of("");

  @BeforeEach
  void makeImage() throws IOException {
    image = folder.resolve("image");
    copy = folder.resolve("copy");
    SplittableRandom random = new SplittableRandom(1);
    byte[] bytes = new byte[SIZE];
    for (int page = 0; page < SIZE / PAGE; page++) {
      if (page % 3 != 0) {
        for (int i = 0; i < PAGE; i += 4) {
          bytes[page * PAGE + i] = (byte) random.nextInt();
        }
      }
    }
    Files.write(image, bytes);
  }

  private Cli receive(String... more) throws IOException {
    return Cli.start(concat(more, "receive", "--listen=0", "--memory=" + copy, "--size=64m"));
  }

  private Cli send(Cli receiver, String... more) throws Exception {
    String address = receiver.awaitLine("listening on (\\S+) for 64.00 MiB").group(1);
    return Cli.start(concat(more, "send", "--connect=" + address, "--memory=" + image));
  }

  private static String[] concat(String[] more, String... first) {
    String[] all = java.util.Arrays.copyOf(first, first.length + more.length);
    System.arraycopy(more, 0, all, first.length, more.length);
    return all;
  }

  @Test
  void anImageAtRestArrivesAndBothReportsHaveTheShapeOfQuemus() throws Exception {
    Path report = folder.resolve("report.json");
    try (Cli receiver = receive("--json=" + report);
        Cli sender = send(receiver, "--json=-")) {
      Cli.Result sent = sender.result();
      assertThat(sent.exitCode()).as("%s", sent).isZero();
      assertThat(receiver.result().exitCode()).isZero();
      assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
      assertShapeOfQemus(new ObjectMapper().readTree(sent.stdout()));
      JsonNode received = new ObjectMapper().readTree(Files.readString(report));
      assertThat(received.path("status").asText()).isEqualTo("completed");
      assertThat(received.path("ram").path("total").asLong()).isEqualTo(SIZE);
    }
  }

  @Test
  void anOlderCopyIsBroughtUpToDate() throws Exception {
    Files.copy(image, copy);
    try (FileChannel file = FileChannel.open(image, StandardOpenOption.WRITE)) {
      file.write(ByteBuffer.wrap("changed".getBytes(StandardCharsets.UTF_8)), SIZE / 2);
    }
    try (Cli receiver = receive("--reuse");
        Cli sender = send(receiver, "--json=-")) {
      Cli.Result sent = sender.result();
      assertThat(sent.exitCode()).as("%s", sent).isZero();
      assertThat(receiver.result().exitCode()).isZero();
      assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
      JsonNode ram = new ObjectMapper().readTree(sent.stdout()).path("ram");
      assertThat(ram.path("normal").asLong()).isEqualTo(1);
      assertThat(ram.path("transferred").asLong()).isLessThan(SIZE / 100);
    }
  }

  /** A process that rewrites a quarter of the image all the time. */
  private Process writer() throws IOException {
    String script =
        "while :; do head -c 16777216 /dev/urandom | dd of='%s' conv=notrunc bs=64k status=none; done";
    return new ProcessBuilder("sh", "-c", "exec setsid sh -c \"$0\"", script.formatted(image))
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .start();
  }

  @Test
  void aProcessThatWritesTooFastIsThrottledAndInTheEndLetOff() throws Exception {
    Process writer = writer();
    Path log = folder.resolve("log");
    try (Cli receiver = receive();
        Cli sender =
            send(
                receiver,
                "--auto-converge",
                "--downtime-limit=1ms",
                "--timeout=8s",
                "--on-limit=abort",
                "--max-bandwidth=16m",
                "--xbzrle-cache=off",
                "--on-throttle=echo $1 >>" + log,
                "--json=" + folder.resolve("report"))) {
      sender.result().isFailure(1, "does not converge: 8 s are over");
      assertThat(receiver.result().exitCode()).isEqualTo(1);
      List<String> percentages = Files.readAllLines(log);
      assertThat(percentages).hasSizeGreaterThan(1).startsWith("20").endsWith("0");
      JsonNode json = new ObjectMapper().readTree(folder.resolve("report").toFile());
      assertThat(json.path("steps").path(0).path("step").asText()).isEqualTo("throttle");
    } finally {
      writer.descendants().forEach(ProcessHandle::destroyForcibly);
      writer.destroyForcibly();
    }
  }

  @Test
  void whatIsSentCanBeCapturedAndInspected() throws Exception {
    Path capture = folder.resolve("capture");
    try (Cli receiver = receive();
        Cli sender = send(receiver, "--capture=" + capture)) {
      assertThat(sender.result().exitCode()).isZero();
      assertThat(receiver.result().exitCode()).isZero();
    }
    Cli.Result inspected = Cli.call("inspect", capture.toString());
    assertThat(inspected.exitCode()).as("%s", inspected).isZero();
    assertThat(inspected.stdout()).contains("HELLO", "LAYOUT", "ROUND_BEGIN", "COMMIT");
  }

  private static void assertShapeOfQemus(JsonNode json) {
    assertThat(json.path("status").asText()).isEqualTo("completed");
    assertThat(json.properties())
        .extracting(java.util.Map.Entry::getKey)
        .contains("total-time", "setup-time", "downtime", "expected-downtime", "tracker", "rounds");
    assertThat(json.path("ram").properties())
        .extracting(java.util.Map.Entry::getKey)
        .containsExactly(
            "transferred",
            "remaining",
            "total",
            "duplicate",
            "normal",
            "normal-bytes",
            "dirty-pages-rate",
            "mbps",
            "dirty-sync-count",
            "page-size",
            "pages-per-second");
    assertThat(json.path("xbzrle-cache").properties())
        .extracting(java.util.Map.Entry::getKey)
        .containsExactly(
            "cache-size",
            "bytes",
            "pages",
            "cache-miss",
            "cache-miss-rate",
            "encoding-rate",
            "overflow");
    assertThat(json.path("ram").path("remaining").asLong()).isZero();
    assertThat(json.path("ram").path("page-size").asInt()).isEqualTo(PAGE);
    assertThat(json.path("ram").path("duplicate").asLong()).isGreaterThanOrEqualTo(SIZE / PAGE / 3);
    assertThat(json.path("ram").path("transferred").asLong()).isPositive();
    assertThat(json.path("rounds").isEmpty()).isFalse();
  }

  /** Writes an image until a file appears, as a guest that somebody else runs. */
  private final class Writer implements AutoCloseable {

    private final Path stop = folder.resolve("stop");
    private final Path stopped = folder.resolve("stopped");
    private volatile boolean closed;
    private volatile long writes;
    private final Thread thread = Thread.ofPlatform().start(this::write);

    private void write() {
      SplittableRandom random = new SplittableRandom(2);
      try (Arena arena = Arena.ofConfined();
          FileChannel file =
              FileChannel.open(image, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
        MemorySegment memory = file.map(FileChannel.MapMode.READ_WRITE, 0, SIZE, arena);
        while (!closed && !Files.exists(stop)) {
          for (int i = 0; i < 50; i++) {
            long at = random.nextLong(SIZE / 8) * 8;
            memory.set(ValueLayout.JAVA_LONG, at, random.nextLong());
          }
          writes++;
          LockSupport.parkNanos(1_000_000);
        }
        Files.createFile(stopped);
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }

    String switchOverCommand() {
      return "touch '%s'; while [ ! -e '%s' ]; do sleep 0.02; done".formatted(stop, stopped);
    }

    @Override
    public void close() {
      closed = true;
      try {
        thread.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }

  @Test
  void anImageThatIsWrittenUntilTheSwitchOverArrivesEqual() throws Exception {
    try (Writer writer = new Writer();
        Cli receiver = receive();
        Cli sender =
            send(
                receiver,
                "--max-bandwidth=60m",
                "--max-rounds=5",
                "--on-switchover=" + writer.switchOverCommand())) {
      Cli.Result sent = sender.result();
      assertThat(sent.exitCode()).as("%s", sent).isZero();
      assertThat(sent.messages()).isEmpty();
      Cli.Result received = receiver.result();
      assertThat(received.exitCode()).isZero();
      assertThat(sent.out().getLast())
          .isEqualTo("the guest is at the destination: do not let it go on here");
      assertThat(received.out().getLast())
          .isEqualTo("the guest is here: it may run here, and nowhere else");
      assertThat(writer.writes).isGreaterThan(10);
      assertThat(Files.exists(writer.stopped)).isTrue();
      assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
    }
  }

  @Test
  void aSwitchOverCommandThatFailsFailsTheMigrationAndTheGuestGoesOn() throws Exception {
    Path resumed = folder.resolve("resumed");
    Path report = folder.resolve("report.json");
    try (Cli receiver = receive();
        Cli sender =
            send(
                receiver,
                "--on-switchover=echo stopping; exit 3",
                "--on-failure=touch '" + resumed + "'",
                "--json=" + report)) {
      Cli.Result sent = sender.result();
      assertThat(sent.exitCode()).isEqualTo(1);
      assertThat(sent.messages()).hasSize(2).first().isEqualTo("stopping");
      assertThat(sent.messages().getLast())
          .startsWith("pageflux: the command of --on-switchover failed with exit code 3")
          .endsWith(GOES_ON);
      assertThat(Files.exists(resumed)).isTrue();
      JsonNode json = new ObjectMapper().readTree(Files.readString(report));
      assertThat(json.path("status").asText()).isEqualTo("failed");
      assertThat(json.path("error-desc").asText()).contains("exit code 3");
      receiver.result().isFailure(1, "the peer reports", "exit code 3", DOES_NOT_RUN);
      assertThat(Files.exists(copy)).as("a file that is of no use").isFalse();
    }
  }

  @Test
  void anInterruptedSenderSaysThatTheGuestGoesOnAndTheReceiverStops() throws Exception {
    Path started = folder.resolve("started.json");
    try (Cli receiver = receive();
        Cli sender = send(receiver, "--max-bandwidth=1m", "--compress=none", "--json=" + started)) {
      awaitMigration(receiver);
      sender.signal("INT");

      sender.result().isFailure(130, "interrupted: the guest goes on at the source");
      receiver.result().isFailure(1, "the peer reports", "cancelled", DOES_NOT_RUN);
      assertThat(Files.exists(copy)).isFalse();
      assertThat(new ObjectMapper().readTree(started.toFile()).path("status").asText())
          .isEqualTo("cancelled");
    }
  }

  @Test
  void anInterruptedReceiverStopsAndTheSenderKeepsItsGuest() throws Exception {
    try (Cli receiver = receive();
        Cli sender = send(receiver, "--max-bandwidth=1m", "--compress=none")) {
      awaitMigration(receiver);
      receiver.signal("TERM");

      receiver.result().isFailure(143, "interrupted: the guest does not run here");
      sender.result().isFailure(1, "the peer reports", "cancelled", GOES_ON);
    }
  }

  /** Pages arrive: a migration is under way. */
  private void awaitMigration(Cli receiver) throws IOException {
    try (Arena arena = Arena.ofConfined();
        FileChannel file = FileChannel.open(copy, StandardOpenOption.READ)) {
      MemorySegment memory = file.map(FileChannel.MapMode.READ_ONLY, 0, SIZE, arena);
      while (memory.get(ValueLayout.JAVA_LONG, PAGE) == 0) {
        assertThat(ProcessHandle.of(receiver.pid())).isPresent();
        Thread.onSpinWait();
      }
    }
  }
}
