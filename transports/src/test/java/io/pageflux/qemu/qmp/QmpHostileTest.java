package io.pageflux.qemu.qmp;

import static io.pageflux.qemu.qmp.ScriptedQmp.GREETING;
import static io.pageflux.qemu.qmp.ScriptedQmp.NEGOTIATED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;

import com.fasterxml.jackson.databind.JsonNode;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.qmp.ScriptedQmp.Then;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.test.StepVerifier;

class QmpHostileTest {

  private static final Duration PATIENCE = Duration.ofSeconds(30);

  private static final String EVENT =
      "{\"timestamp\": {\"seconds\": 1, \"microseconds\": 5}, \"event\": \"STOP\"}\r\n";
  private static final String ANSWER = "{\"return\": {\"status\": \"paused\"}, \"id\": 1}\r\n";

  /** Connects, asks for the status, and closes. */
  private static Mono<JsonNode> ask(QmpSpec spec) {
    return Mono.usingWhen(
        QmpClient.connect(spec), client -> client.execute("query-status"), QmpClient::close);
  }

  private static QmpClient connect(ScriptedQmp server) {
    return Objects.requireNonNull(QmpClient.connect(server.spec()).block(PATIENCE));
  }

  private static MigrationException failure(Mono<?> mono) {
    return catchThrowableOfType(MigrationException.class, () -> mono.block(PATIENCE));
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          QEMU 7.2.22 monitor - type 'help'        | human monitor
          HTTP/1.1 400 Bad Request                 | no JSON
          {"QMP": {"version": {}}}                 | no greeting
          {"return": {}, "id": 0}                  | no greeting
          []                                       | no JSON object
          {"QMP": {"version": {"qemu": {"major": 7}}}} {}  | no JSON
          """)
  void whatIsNoGreetingIsRefusedWithItsWords(String line, String why) throws Exception {
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, line + "\r\n")) {
      MigrationException e = failure(ask(server.spec()));
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e)
          .hasMessageContaining(server.spec().address().toString())
          .hasMessageContaining(why)
          .hasMessageContaining(line.substring(0, 2));
      server.awaitClosed();
    }
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          {"return": {}, "id": 99}                 | answer to no command
          {"return": {}}                           | answer to no command
          {"return": {}, "id": "1"}                | answer to no command
          {"return": {}, "id": 1e99}               | answer to no command
          {"return": {}, "error": {}, "id": 1}     | neither greeting
          {"id": 1}                                | neither greeting
          {"error": {"class": "X"}, "id": 1}       | without class and desc
          {"event": 5}                             | event without a name
          {"event": "X", "data": 5}                | event without a name
          {"return": {}, "id": 1                   | no JSON
          {"return": {}, "id": 1, "id": 1}         | Duplicate
          {                                        | pretty=on
          """)
  void aMessageThatIsNoneEndsTheConnection(String line, String why) throws Exception {
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED, line + "\r\n")) {
      MigrationException e = failure(ask(server.spec()));
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e)
          .hasMessageContaining("query-status")
          .hasMessageContaining(server.spec().address().toString())
          .hasMessageContaining(why);
      server.awaitClosed();
    }
  }

  @Test
  void aServerThatDoesNotNegotiateIsRefused() throws Exception {
    String no = "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"no\"}, \"id\": 0}\r\n";
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, no)) {
      assertThat(failure(ask(server.spec()))).hasMessageContaining("qmp_capabilities");
    }
  }

  @Test
  void aLineWithoutEndIsNotRead() throws Exception {
    String endless = "{\"QMP\": \"" + "x".repeat(1 << 20);
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, endless)) {
      MigrationException e = failure(ask(server.spec().withMaxLineBytes(64 << 10)));
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("65536 bytes");
      server.awaitClosed();
    }
  }

  @Test
  void anAnswerNestedWithoutEndIsRefusedAndDoesNotOverflowTheStack() throws Exception {
    String deep = "{\"id\": 1, \"return\": " + "[".repeat(1 << 20) + "\r\n";
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED, deep)) {
      MigrationException e = failure(ask(server.spec()));
      assertThat(e.kind()).isEqualTo(Kind.PROTOCOL);
      assertThat(e).hasMessageContaining("nesting depth");
      assertThat(e.getMessage()).hasSizeLessThan(1000);
    }
  }

  @Test
  void silenceEndsWithATimeoutThatNamesTheCommandAndALateAnswerIsNoError() throws Exception {
    String second = "{\"return\": 1, \"id\": 1}\r\n{\"return\": 2, \"id\": 2}\r\n";
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED, "", second)) {
      QmpClient client = connect(server);
      MigrationException e =
          failure(client.execute("first-command", Map.of(), Duration.ofMillis(20)));
      assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
      assertThat(e).hasMessageContaining("first-command").hasMessageContaining("0.0 s");
      assertThat(client.execute("second-command").block(PATIENCE)).hasToString("2");
      client.close().block(PATIENCE);
    }
  }

  @Test
  void aServerThatNeverGreetsIsGivenUp() throws Exception {
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, "")) {
      MigrationException e = failure(ask(server.spec().withTimeout(Duration.ofMillis(20))));
      assertThat(e.kind()).isEqualTo(Kind.TIMEOUT);
      server.awaitClosed();
    }
  }

  @Test
  @Timeout(60)
  void cancellingTheConnectionAttemptAtAnyMomentClosesIt() throws Exception {
    for (int turns = 0; turns < 20_000; turns += 500) {
      // To close it is to wait for the end of the connection, if it came to one.
      try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, "")) {
        QmpSpec spec = server.spec().withTimeout(Duration.ofMinutes(10));
        Disposable connecting = QmpClient.connect(spec).subscribe();
        for (int turn = 0; turn < turns; turn++) {
          Thread.onSpinWait();
        }
        connecting.dispose();
      }
    }
  }

  @Test
  void takingTheClientFromAFluxLeavesItOpen() throws Exception {
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED, ANSWER)) {
      QmpClient client =
          Objects.requireNonNull(
              QmpClient.connect(server.spec()).flux().take(1).blockFirst(PATIENCE));
      assertThat(client.execute("query-status").block(PATIENCE)).isNotNull();
      client.close().block(PATIENCE);
      server.awaitClosed();
    }
  }

  @Test
  void closingHereFailsWhatWaitsAndCompletesTheEvents() throws Exception {
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED)) {
      QmpClient client = connect(server);
      var waiting = client.execute("query-status").toFuture();
      StepVerifier.create(client.events())
          .then(() -> client.close().block(PATIENCE))
          .expectComplete()
          .verify(PATIENCE);
      assertThatThrownBy(waiting::join)
          .isInstanceOfAny(CompletionException.class, CancellationException.class)
          .hasRootCauseInstanceOf(MigrationException.class);
      assertThat(failure(client.execute("stop")).kind()).isEqualTo(Kind.CANCELLED);
      server.awaitClosed();
    }
  }

  @Test
  void aSlowSubscriberMissesNoEventOrIsTold() throws Exception {
    String burst = EVENT.repeat(QmpClient.EVENT_QUEUE) + ANSWER;
    String more = EVENT + ANSWER.replace("1}", "2}");
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED, burst, more)) {
      QmpClient client = connect(server);
      StepVerifier.create(client.events(), 0)
          .then(() -> client.execute("query-status").block(PATIENCE))
          .thenRequest(QmpClient.EVENT_QUEUE)
          .expectNextCount(QmpClient.EVENT_QUEUE)
          .thenCancel()
          .verify(PATIENCE);
      client.close().block(PATIENCE);
    }
    String tooMany = EVENT.repeat(QmpClient.EVENT_QUEUE + 1) + ANSWER;
    try (ScriptedQmp server = ScriptedQmp.saying(Then.STAY, GREETING, NEGOTIATED, tooMany)) {
      QmpClient client = connect(server);
      StepVerifier.create(client.events(), 0)
          .then(() -> client.execute("query-status").block(PATIENCE))
          .thenRequest(Long.MAX_VALUE)
          .expectNextCount(QmpClient.EVENT_QUEUE)
          .expectErrorSatisfies(
              e -> assertThat(e).hasMessageContaining("1024 events").hasMessageContaining("unix:"))
          .verify(PATIENCE);
      client.close().block(PATIENCE);
    }
  }

  @Test
  void anAnswerCutOffAtAnyByteIsAnErrorOfTheConnection() throws Exception {
    List<byte[]> script = script();
    int length = script.stream().mapToInt(part -> part.length).sum();
    for (int cut = 0; cut < length; cut++) {
      try (ScriptedQmp server = new ScriptedQmp(cutOff(script, cut), Then.CLOSE)) {
        MigrationException e = failure(ask(server.spec()));
        // The line's end may be missing or not; the message says only that it was closed.
        assertThat(e).as("cut off at byte " + cut).isNotNull();
        assertThat(e.kind()).as("cut off at byte " + cut).isEqualTo(Kind.TRANSPORT);
      }
    }
    try (ScriptedQmp server = new ScriptedQmp(script, Then.CLOSE)) {
      assertThat(ask(server.spec()).block(PATIENCE)).isNotNull();
    }
  }

  @Test
  void aDamagedByteIsHarmlessOrOneClearError() throws Exception {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    List<byte[]> script = script();
    int errors = 0;
    for (int part = 0; part < script.size(); part++) {
      for (int at = 0; at < script.get(part).length; at++) {
        List<byte[]> damaged = new ArrayList<>(script);
        byte[] bytes = script.get(part).clone();
        bytes[at] ^= (byte) (1 << random.nextInt(8));
        damaged.set(part, bytes);
        try (ScriptedQmp server = new ScriptedQmp(damaged, Then.CLOSE)) {
          // What is damaged so that nobody can answer it any more, ends with the client's patience.
          MigrationException e = failure(ask(server.spec().withTimeout(Duration.ofSeconds(2))));
          if (e != null) {
            errors++;
            assertThat(e.getMessage())
                .as("seed %d, part %d, byte %d", seed, part, at)
                .contains("unix:")
                .isPrintable();
          }
        }
      }
    }
    assertThat(errors).as("seed " + seed).isGreaterThan(50);
  }

  private static List<byte[]> script() {
    return List.of(
        GREETING.getBytes(StandardCharsets.US_ASCII),
        NEGOTIATED.getBytes(StandardCharsets.US_ASCII),
        (EVENT + ANSWER).getBytes(StandardCharsets.US_ASCII));
  }

  private static List<byte[]> cutOff(List<byte[]> script, int bytes) {
    List<byte[]> cut = new ArrayList<>();
    int left = bytes;
    for (byte[] part : script) {
      cut.add(Arrays.copyOf(part, Math.min(left, part.length)));
      if (left < part.length) {
        break;
      }
      left -= part.length;
    }
    return cut;
  }

  @Test
  void nobodyListensIsSaidInWords() {
    assertThat(failure(QmpClient.connect(QmpSpec.of("unix:/tmp/there-is-no-such-socket"))))
        .hasMessageContaining("unix:/tmp/there-is-no-such-socket")
        .hasMessageContaining("no such socket");
    assertThat(failure(QmpClient.connect(QmpSpec.of("127.0.0.1:1"))))
        .hasMessageContaining("127.0.0.1:1")
        .hasMessageContaining("nobody listens");
  }

  @Test
  void addressesAreReadAsTheyAreWritten() {
    assertThat(QmpAddress.parse("unix:/run/qmp"))
        .isEqualTo(new QmpAddress.Unix(Path.of("/run/qmp")));
    assertThat(QmpAddress.parse("host:4444")).isEqualTo(new QmpAddress.Tcp("host", 4444));
    assertThat(QmpAddress.parse("tcp:[::1]:4444")).isEqualTo(new QmpAddress.Tcp("::1", 4444));
    assertThat(QmpAddress.parse("[::1]:4444")).hasToString("[::1]:4444");
    for (String wrong : List.of("", "host", ":1", "host:", "host:0", "host:70000", "unix:")) {
      assertThatThrownBy(() -> QmpAddress.parse(wrong))
          .as(wrong)
          .isInstanceOf(IllegalArgumentException.class);
    }
    assertThatThrownBy(() -> QmpAddress.parse("unix:/" + "x".repeat(107)))
        .hasMessageContaining("107 bytes");
  }
}
