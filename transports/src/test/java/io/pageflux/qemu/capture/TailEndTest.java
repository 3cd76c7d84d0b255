package io.pageflux.qemu.capture;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TailEndTest {

  private static final String JSON =
      "{\"page_size\": 4096, \"devices\": [{\"name\": \"ti}m\\\"{er\", \"fields\": [\"\\\\\"]}]}";

  private final ByteArrayOutputStream stream = new ByteArrayOutputStream();

  private TailEndTest hex(int... bytes) {
    for (int b : bytes) {
      stream.write(b);
    }
    return this;
  }

  private TailEndTest description(String json, int length) {
    return hex(0, 6, length >>> 24, length >>> 16, length >>> 8, length).text(json);
  }

  private TailEndTest description(String json) {
    return description(json, json.getBytes(StandardCharsets.UTF_8).length);
  }

  private TailEndTest text(String text) {
    stream.writeBytes(text.getBytes(StandardCharsets.UTF_8));
    return this;
  }

  private TailEnd whole() {
    TailEnd end = new TailEnd();
    end.add(ByteBuffer.wrap(stream.toByteArray()));
    return end;
  }

  /** Feeds it byte by byte: it is complete with the last one, and only then. */
  private void assertEndsHere() {
    TailEnd end = new TailEnd();
    byte[] bytes = stream.toByteArray();
    for (int i = 0; i < bytes.length; i++) {
      assertThat(end.isComplete()).as("before byte %d of %d", i, bytes.length).isFalse();
      end.add(ByteBuffer.wrap(bytes, i, 1));
    }
    assertThat(end.isComplete()).isTrue();
    assertThat(end.bytes()).isEqualTo(bytes.length);
    assertThat(whole().isComplete()).isTrue();
  }

  private void assertDoesNotEnd() {
    assertThat(whole().isComplete()).isFalse();
  }

  @Test
  void aDescriptionIsTheEnd() {
    hex(4, 0, 0, 0, 9).text("timer").description(JSON).assertEndsHere();
  }

  @Test
  void aDescriptionAloneIsTheEnd() {
    description("{}").assertEndsHere();
  }

  @Test
  void whatFollowsUndoesIt() {
    description(JSON).hex(0).assertDoesNotEnd();
  }

  @Test
  void evenABlankThatFollowsUndoesIt() {
    description(JSON).text(" ").assertDoesNotEnd();
  }

  @Test
  void aDescriptionBehindAFakeOneIsTheEnd() {
    TailEnd end = description("{\"fake\": 1}").whole();
    assertThat(end.isComplete()).isTrue();
    TailEndTest both = description(JSON);
    byte[] bytes = both.stream.toByteArray();
    end.add(ByteBuffer.wrap(bytes, (int) end.bytes(), bytes.length - (int) end.bytes()));
    assertThat(end.isComplete()).isTrue();
  }

  @Test
  void aFakeThatReachesOverTheRealOneDoesNotHideIt() {
    description("{\"a\": \"", 100_000).description(JSON).assertEndsHere();
  }

  @Test
  void aFakeWhoseLengthLeadsToTheEndDoesNotCount() {
    description("{ 1 2 3 ", 8).assertDoesNotEnd();
    description("{}}}", 4).assertDoesNotEnd();
    description("{\"}\"", 4).assertDoesNotEnd();
    description("{\"\u0001\"}", 5).assertDoesNotEnd();
    description("{\u0001}", 3).assertDoesNotEnd();
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, -1, Integer.MIN_VALUE, Integer.MAX_VALUE})
  void lengthsThatCannotBeAreNone(int length) {
    description(JSON, length).assertDoesNotEnd();
    description(JSON).assertEndsHereToo();
  }

  private void assertEndsHereToo() {
    assertThat(whole().isComplete()).isTrue();
  }

  @Test
  void markersThatOverlapAreAllLookedAt() {
    // The first '{' is a byte of the real one's length: 0x7b__ bytes of JSON.
    StringBuilder json = new StringBuilder("{\"filler\": \"");
    json.append("x".repeat(0x7b22 - json.length() - 2)).append("\"}");
    assertThat(json).hasSize(0x7b22);
    hex(0, 6).description(json.toString()).assertEndsHere();
  }

  @Test
  void theEndMustBeMarked() {
    hex(1, 6, 0, 0, 0, 2).text("{}").assertDoesNotEnd();
    hex(0, 5, 0, 0, 0, 2).text("{}").assertDoesNotEnd();
  }

  @Test
  void theMarkerIsSeenWithoutADescription() {
    assertThat(whole().endsWithMarker()).isFalse();
    assertThat(hex(1, 0).whole().endsWithMarker()).isTrue();
    assertThat(hex(1).whole().endsWithMarker()).isFalse();
  }

  @Test
  void anyStateMayComeBefore() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    byte[] few = {0, 6, '{', '}', '"', '\\', ' ', 'a', 1};
    for (int run = 0; run < 300; run++) {
      stream.reset();
      int bytes = random.nextInt(200);
      for (int i = 0; i < bytes; i++) {
        stream.write(few[random.nextInt(few.length)]);
      }
      description(JSON);
      assertThat(whole().isComplete()).as("run %d with seed %d", run, seed).isTrue();
    }
  }
}
