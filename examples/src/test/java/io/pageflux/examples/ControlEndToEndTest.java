package io.pageflux.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(180)
class ControlEndToEndTest {

  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder = Path.of("");
  private Path image = Path.of("");
  private Path copy = Path.of("");
  private Path socket = Path.of("");
  private final List<AutoCloseable> open = new ArrayList<>();

  @BeforeEach
  void makeImage() throws IOException {
    image = folder.resolve("image");
    copy = folder.resolve("copy");
    byte[] bytes = new byte[32 << 20];
    new Random(1).nextBytes(bytes);
    Files.write(image, bytes);
    socket = Files.createTempDirectory("pf").resolve("ctl");
  }

  @AfterEach
  void close() throws Exception {
    for (AutoCloseable one : open) {
      one.close();
    }
    Files.deleteIfExists(socket);
    Files.deleteIfExists(socket.getParent());
  }

  /** A migration that takes minutes unless somebody has it go faster. */
  private Cli[] slowMigration(String... more) throws Exception {
    Cli receiver = Cli.start("receive", "--listen=0", "--memory=" + copy, "--size=32m");
    open.add(receiver);
    String address = receiver.awaitLine("listening on (\\S+) for").group(1);
    List<String> send =
        new ArrayList<>(
            List.of(
                "send",
                "--connect=" + address,
                "--memory=" + image,
                "--max-bandwidth=100k",
                "--control=unix:" + socket));
    send.addAll(List.of(more));
    Cli sender = Cli.start(send.toArray(String[]::new));
    open.add(sender);
    // Round 1 begins a moment after the socket is there.
    while (!Files.exists(socket) || !ctlJson("query").path("status").asText().equals("active")) {
      assertThat(ProcessHandle.of(sender.pid())).isPresent();
    }
    return new Cli[] {sender, receiver};
  }

  private Cli.Result ctl(String... arguments) throws Exception {
    List<String> all = new ArrayList<>(List.of("ctl", socket.toString()));
    all.addAll(List.of(arguments));
    return Cli.call(all.toArray(String[]::new));
  }

  private JsonNode ctlJson(String... arguments) throws Exception {
    List<String> all = new ArrayList<>(List.of(arguments));
    all.add("--json");
    return JSON.readTree(ctl(all.toArray(String[]::new)).stdout());
  }

  /** The policy is asked a second after the beginning at the latest, but not in a pause. */
  private void awaitFigures() throws Exception {
    assertThat(ctl("continue").exitCode()).isZero();
    JsonNode figures;
    do {
      figures = ctlJson("query").path("convergence");
      // The first batch is not held up by the limit.
    } while (figures.isMissingNode() || figures.path("goodput-mbps").asDouble() > 8);
    // At first less than random bytes take: pages were read of which no byte was sent yet.
    assertThat(figures.path("remaining-wire").asLong()).isBetween(1L << 20, 40L << 20);
    assertThat(figures.path("goodput-mbps").asDouble()).isGreaterThanOrEqualTo(0);
    assertThat(figures.has("downtime-fixed")).isTrue();
    assertThat(figures.path("stalled-rounds").asInt()).isZero();
    assertThat(ctl("query").stdout()).contains("rounds without progress");
    assertThat(ctl("pause").exitCode()).isZero();
  }

  @Test
  void aMigrationIsQueriedPausedChangedAndFollowedToItsEnd() throws Exception {
    Cli[] both = slowMigration();
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)))
        .isEqualTo("rw-------");
    Cli events = Cli.start("ctl", socket.toString(), "events");
    open.add(events);
    events.awaitLine("MIGRATION status=\"active\"");
    assertThat(ctl("pause").exitCode()).isZero();
    events.awaitLine("MIGRATION status=\"paused\"");
    ctl("pause").isFailure(1, "the migration is paused already");
    Cli.Result query = ctl("query");
    assertThat(query.stdout()).contains("status: paused", "max-bandwidth: 102400");
    awaitFigures();

    ctl("set", "max-bandwidth=1").isFailure(1, "max-bandwidth is 0 (no limit) or at least");
    ctl("set", "bandwidth=1").isFailure(1, "there is no parameter 'bandwidth'");
    ctl("set", "multifd-zstd-level=99").isFailure(1, "zstd has levels from");
    ctl("set").isFailure(2, "set needs NAME=VALUE");
    ctl("set", "max-cpu-throttle=50")
        .isFailure(1, "max-cpu-throttle can be set of a migration with --auto-converge only");
    JsonNode set =
        ctlJson(
            "set",
            "max-bandwidth=0",
            "downtime-limit=500",
            "multifd-zstd-level=3",
            "compress-threads=1",
            "xbzrle-cache-size=16m");
    assertThat(set)
        .isEqualTo(
            JSON.readTree(
                "{\"max-bandwidth\":0,\"downtime-limit\":500,\"multifd-compression\":\"zstd\","
                    + "\"multifd-zstd-level\":3,\"compress-threads\":1,"
                    + "\"xbzrle-cache-size\":16777216}"));
    assertThat(ctl("continue").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).as("%s", both[0].result()).isZero();
    assertThat(both[1].result().exitCode()).isZero();
    events.awaitLine("MIGRATION status=\"completed\"");
    assertThat(events.result().exitCode()).isZero();
    assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
    assertThat(Files.exists(socket)).isFalse();
    ctl("query").isFailure(1, "no 'pageflux send --control' can be reached");
  }

  @Test
  void aMigrationThatWaitsBeforeItsSwitchOverIsContinuedByWhoeverSaysSo() throws Exception {
    Path stopped = folder.resolve("stopped");
    Cli[] both = slowMigration("--pause-before-switchover", "--on-switchover", "touch " + stopped);
    Raw raw = new Raw();
    raw.hear();
    String goOn = "{\"execute\":\"migrate-continue\",\"arguments\":{\"state\":%s}}\n";
    for (String[] refused :
        new String[][] {
          {"\"pre-switchover\"", "pre-switchover, and is in the state active"},
          {"\"paused\"", "the migration is not paused"},
          {"\"active\"", "pre-switchover or paused"},
          {"1", "pre-switchover or paused"},
          {"\"paused\",\"now\":1", "has 'now'"}
        }) {
      raw.say(goOn.formatted(refused[0]));
      assertThat(raw.hear().path("error").path("desc").asText())
          .as(refused[0])
          .contains(refused[1]);
    }
    ctl("continue").isFailure(1, "the migration is not paused");

    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    both[0].awaitLine("the guest is paused: the migration waits to be continued");
    assertThat(ctlJson("query").path("status").asText()).isEqualTo("pre-switchover");
    assertThat(Files.exists(stopped)).isTrue();
    ctl("pause").isFailure(1, "the switch-over has begun");
    raw.say(goOn.formatted("\"paused\""));
    assertThat(raw.hear().path("error").path("desc").asText()).contains("switch-over has begun");
    assertThat(ctl("continue").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).as("%s", both[0].result()).isZero();
    assertThat(both[1].result().exitCode()).isZero();
    assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
  }

  @Test
  void theRuleOfAutoConvergeIsChangedWhileItRuns() throws Exception {
    Cli[] both =
        slowMigration("--auto-converge", "--cpu-throttle-initial=30", "--on-throttle", "true");
    ctl("set", "max-cpu-throttle=20").isFailure(1, "max-cpu-throttle is a whole number from 30 to");
    ctl("set", "cpu-throttle-tailslow=maybe").isFailure(1, "is true or false");
    JsonNode set =
        ctlJson(
            "set",
            "max-cpu-throttle=60",
            "cpu-throttle-increment=5",
            "throttle-trigger-threshold=80",
            "cpu-throttle-tailslow=on");
    assertThat(set.path("cpu-throttle-initial").asInt()).isEqualTo(30);
    assertThat(set.path("cpu-throttle-increment").asInt()).isEqualTo(5);
    assertThat(set.path("max-cpu-throttle").asInt()).isEqualTo(60);
    assertThat(set.path("throttle-trigger-threshold").asInt()).isEqualTo(80);
    assertThat(set.path("cpu-throttle-tailslow").asBoolean()).isTrue();
    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).as("%s", both[0].result()).isZero();
  }

  @Test
  void aMigrationThatNobodyContinuesIsGivenUpAndTheWriterGoesOn() throws Exception {
    Path goesOn = folder.resolve("goes-on");
    Cli[] both = slowMigration("--pause-before-switchover=1ms", "--on-failure", "touch " + goesOn);
    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    both[0].result().isFailure(1, "nobody continued the migration", "goes on at the source");
    assertThat(both[1].result().exitCode()).isEqualTo(1);
    assertThat(Files.exists(goesOn)).isTrue();
  }

  /**
   * Another user, who may read what is needed to start the command line wherever that is, but may
   * use no socket of this one.
   */
  private static final List<String> NOBODY =
      List.of(
          "setpriv",
          "--reuid=65534",
          "--regid=65534",
          "--clear-groups",
          "--inh-caps=+dac_read_search",
          "--ambient-caps=+dac_read_search");

  private static boolean canBeNobody() throws InterruptedException {
    List<String> command = new ArrayList<>(NOBODY);
    command.addAll(List.of("test", "-r", System.getProperty("java.home")));
    try {
      return new ProcessBuilder(command).start().waitFor() == 0;
    } catch (IOException e) {
      return false;
    }
  }

  @Test
  void anotherUserGetsNoControl() throws Exception {
    assumeTrue(canBeNobody(), "only root, with setpriv of util-linux, can be somebody else");
    Cli[] both = slowMigration();
    for (String action : List.of("query", "cancel", "set max-bandwidth=0")) {
      List<String> arguments = new ArrayList<>(List.of("ctl", socket.toString()));
      arguments.addAll(List.of(action.split(" ")));
      try (Cli other = Cli.startBy(NOBODY, arguments.toArray(String[]::new))) {
        other.result().isFailure(1, "this user may not control the migration at " + socket);
      }
    }
    assertThat(ctlJson("query").path("parameters").path("max-bandwidth").asLong())
        .isEqualTo(102400);
    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).as("%s", both[0].result()).isZero();
  }

  @Test
  void aStoreGoesOnAtTheDestinationWhenItIsTold() throws Exception {
    Cli demo =
        Cli.start(
            "demo",
            "--size=32m",
            "--dirty-rate=20m", // more than the link takes, so that no round is short
            "--link-rate=8m",
            "--codec=none",
            "--run-after=100ms",
            "--postcopy",
            "--control=unix:" + socket);
    open.add(demo);
    while (!Files.exists(socket) || !ctlJson("query").path("status").asText().equals("active")) {
      assertThat(ProcessHandle.of(demo.pid())).isPresent();
    }
    assertThat(ctl("postcopy").exitCode()).isZero();
    Cli.Result result = demo.result();
    assertThat(result.exitCode()).as("%s", result).isZero();
    assertThat(result.stdout())
        .contains("post-copy by command", "switched after")
        .contains("every one is sound, recent and in its place");
  }

  @Test
  void aMigrationThatCannotGoOverToPostcopySaysSoAndGoesOn() throws Exception {
    Cli[] both = slowMigration();
    ctl("postcopy").isFailure(1, "post-copy was not agreed on with the destination");
    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).isZero();
  }

  @Test
  void aCancelledMigrationSaysWhoCancelledIt() throws Exception {
    Cli[] both = slowMigration();
    assertThat(ctl("cancel").exitCode()).isZero();
    both[0].result().isFailure(1, "cancelled by 'pageflux ctl': the guest goes on at the source");
    both[1].result().isFailure(1, "the peer reports", "cancelled");
    assertThat(Files.exists(socket)).isFalse();
  }

  /** A controller that does not behave. */
  private final class Raw implements AutoCloseable {
    private final SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket));
    private final BufferedReader lines =
        new BufferedReader(Channels.newReader(channel, StandardCharsets.UTF_8));

    Raw() throws IOException {
      open.add(this);
    }

    void say(String text) throws IOException {
      ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
    }

    JsonNode hear() throws IOException {
      String line = lines.readLine();
      assertThat(line).as("an answer").isNotNull();
      return JSON.readTree(line);
    }

    @Override
    public void close() throws IOException {
      channel.close();
    }
  }

  @Test
  void whoSendsGarbageIsAnsweredOrCutOffAndTheMigrationGoesOn() throws Exception {
    Cli[] both = slowMigration();
    Raw raw = new Raw();
    assertThat(raw.hear().has("QMP")).isTrue();
    for (String garbage :
        List.of(
            "hello",
            "[]",
            "{",
            "{}{}",
            "{\"execute\":1}",
            "{\"execute\":\"quit\",\"id\":7}",
            "{\"execute\":\"query-migrate\",\"arguments\":{\"a\":1}}",
            "{\"execute\":\"migrate-pause\",\"execute\":\"migrate-pause\"}",
            "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":1e99}}",
            "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"downtime-limit\":-1}}",
            "{\"execute\":\"migrate-continue\"}",
            "[".repeat(10_000),
            "\0")) {
      raw.say(garbage + "\n");
      JsonNode answer = raw.hear();
      assertThat(answer.path("error").path("desc").asText()).as(garbage).isNotEmpty();
      assertThat(answer.has("id")).isEqualTo(garbage.contains("\"id\""));
    }
    raw.say("{\"execute\":\"query-mi"); // and it goes away in the middle of it
    raw.close();
    Raw long1 = new Raw();
    long1.hear();
    long1.say("x".repeat(16_385));
    assertThat(long1.hear().path("error").path("desc").asText())
        .contains("16384 bytes at the most");
    assertThat(long1.lines.readLine()).as("cut off").isNull();

    Raw flood = new Raw(); // reads nothing, until it has been stopped by that
    flood.channel.configureBlocking(false);
    ByteBuffer query = ByteBuffer.wrap("{\"execute\":\"query-migrate\"}\n".getBytes());
    int refused = 0;
    for (int i = 0; i < 200_000 && refused < 1000; i++) {
      query.rewind();
      refused = flood.channel.write(query) == 0 ? refused + 1 : 0;
    }
    List<Raw> many = new ArrayList<>();
    for (int i = 0; i < 15; i++) {
      many.add(new Raw());
      many.getLast().hear();
    }
    assertThat(new Raw().hear().path("error").path("desc").asText()).contains("16 controllers");
    for (Raw one : many) {
      one.close();
    }
    flood.close();
    Cli.Result done;
    do { // The server notices a moment later that they have gone.
      done = ctl("set", "max-bandwidth=0");
    } while (done.exitCode() != 0 && String.join("", done.err()).contains("controllers"));
    assertThat(both[0].result().exitCode()).as("%s", both[0].result()).isZero();
    assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
  }

  @Test
  void ofTwoWhoPauseAtOnceOneIsTooLate() throws Exception {
    Cli[] both = slowMigration();
    List<Raw> two = List.of(new Raw(), new Raw());
    for (Raw one : two) {
      one.hear();
    }
    for (String command : List.of("migrate-pause", "migrate-continue")) {
      for (Raw one : two) {
        one.say("{\"execute\":\"%s\"}\n".formatted(command));
      }
      List<JsonNode> answers = List.of(two.get(0).hear(), two.get(1).hear());
      assertThat(answers).as(command).filteredOn(answer -> answer.has("return")).hasSize(1);
      assertThat(answers)
          .as(command)
          .filteredOn(
              answer -> answer.path("error").path("desc").asText().contains("the migration"))
          .hasSize(1);
    }
    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).isZero();
    assertThat(Files.mismatch(image, copy)).isEqualTo(-1);
  }

  @Test
  void aSocketThatIsInUseAndOneThatIsNoneAreRefused() throws Exception {
    Cli[] both = slowMigration();
    Cli.call("send", "--connect=1", "--memory=" + image, "--control=unix:" + socket)
        .isFailure(1, "--control", "another program listens there");
    Cli.call("send", "--connect=1", "--memory=" + image, "--control=localhost:1")
        .isFailure(2, "--control is unix:PATH");
    assertThat(ctl("set", "max-bandwidth=0").exitCode()).isZero();
    assertThat(both[0].result().exitCode()).isZero();
  }
}
