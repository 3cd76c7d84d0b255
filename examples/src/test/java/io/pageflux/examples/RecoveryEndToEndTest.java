package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What is left of a copy when one of two processes has died is not sent again. */
@Timeout(180)
class RecoveryEndToEndTest {

  private static final int BYTES = 32 << 20;

  @TempDir Path folder = Path.of("");
  private Path image = Path.of("");
  private Path copy = Path.of("");
  private Path report = Path.of("");
  private final List<Cli> open = new ArrayList<>();

  @BeforeEach
  void makeImage() throws IOException {
    image = folder.resolve("image");
    copy = folder.resolve("copy");
    report = folder.resolve("report.json");
    byte[] bytes = new byte[BYTES];
    new Random(1).nextBytes(bytes);
    Files.write(image, bytes);
  }

  @AfterEach
  void close() {
    open.forEach(Cli::close);
  }

  private Cli start(String... arguments) throws IOException {
    Cli started = Cli.start(arguments);
    open.add(started);
    return started;
  }

  private Cli receive(String listen, String... more) throws IOException {
    List<String> arguments = new ArrayList<>();
    arguments.addAll(List.of("receive", "--listen=" + listen, "--memory=" + copy, "--size=32m"));
    arguments.addAll(List.of(more));
    return start(arguments.toArray(String[]::new));
  }

  private static String address(Cli receiver) throws InterruptedException {
    return receiver.awaitLine("listening on (\\S+) for").group(1);
  }

  private Cli send(String address, String bandwidth) throws IOException {
    return start(
        "send",
        "--connect=" + address,
        "--memory=" + image,
        "--max-bandwidth=" + bandwidth,
        "--reconnect=20",
        "--json=" + report);
  }

  /** Half of the image is in the copy. */
  private void awaitHalf() throws IOException {
    try (FileChannel file = FileChannel.open(copy)) {
      ByteBuffer there = ByteBuffer.allocate(8);
      while (there.getLong(0) == 0) {
        there.clear();
        file.read(there, BYTES / 2);
      }
    }
  }

  private long transferred() throws IOException {
    return new ObjectMapper()
        .readTree(Files.readString(report))
        .path("ram")
        .path("transferred")
        .asLong();
  }

  @Test
  void aReceiverThatWasKilledIsReplacedUnderItsLivingSender() throws Exception {
    Cli receiver = receive("0", "--reconnect=1m");
    String address = address(receiver);
    Cli sender = send(address, "8m");
    awaitHalf();
    receiver.signal("KILL");
    receiver.result();
    Cli next = receive(address, "--reconnect=1m", "--reuse");
    assertThat(sender.result().exitCode()).as("%s", sender.result()).isZero();
    assertThat(next.result().exitCode()).as("%s", next.result()).isZero();
    assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
    assertThat(transferred()).isLessThan((long) (BYTES * 1.3));
  }

  @Test
  void aSenderThatWasKilledIsStartedAnewAndSendsTheRest() throws Exception {
    Cli receiver = receive("0", "--reconnect=10m");
    String address = address(receiver);
    Cli sender = send(address, "8m");
    awaitHalf();
    sender.signal("KILL");
    sender.result();
    // It has another session, and nobody knows whether the first one comes back.
    send(address, "0").result().isFailure(1, "awaits the source of another migration");
    receiver.signal("INT");
    receiver.result().isFailure(130, "what has arrived is kept in", "'receive --reuse'");

    Cli next = receive("0", "--reuse");
    Cli again = send(address(next), "0");
    assertThat(again.result().exitCode()).as("%s", again.result()).isZero();
    assertThat(next.result().exitCode()).isZero();
    assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
    assertThat(transferred()).isLessThan((long) (BYTES * 0.7));
  }
}
