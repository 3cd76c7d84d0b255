package io.pageflux.examples.image;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CommandGuestTest {

  private static final Duration LONG = Duration.ofMinutes(1);

  @TempDir Path folder = Path.of("");

  private String append(String what) {
    return "echo %s >>'%s'".formatted(what, folder.resolve("log"));
  }

  private String log() throws IOException {
    return Files.readString(folder.resolve("log"));
  }

  private static CommandGuest guest(@Nullable String pause, @Nullable String resume) {
    return new CommandGuest(pause, resume, LONG);
  }

  @Test
  void commandsRunOnceForEachPauseAndResume() throws IOException {
    CommandGuest guest = guest(append("pause"), append("resume"));
    guest.resume().block();
    guest.pause().block();
    assertThat(guest.isPaused()).isTrue();
    guest.pause().block();
    guest.resume().block();
    guest.resume().block();

    assertThat(guest.isPaused()).isFalse();
    assertThat(log()).isEqualTo("pause\nresume\n");
  }

  @Test
  void aPauseThatFailsLeavesTheGuestToBeResumed() throws IOException {
    CommandGuest guest = guest(append("pause") + "; exit 3", append("resume"));

    assertThatThrownBy(() -> guest.pause().block())
        .isInstanceOf(MigrationException.class)
        .hasMessageContaining("--on-switchover failed with exit code 3");
    assertThat(guest.isPaused()).isTrue();
    guest.resume().block();
    assertThat(log()).isEqualTo("pause\nresume\n");
  }

  @Test
  void aResumeThatFailsIsRemembered() {
    CommandGuest guest = guest(null, "exit 4");
    guest.pause().block();

    assertThatThrownBy(() -> guest.resume().block()).hasMessageContaining("--on-failure");
    assertThat(guest.resumeFailure()).contains("exit code 4");
  }

  @Test
  void aCommandThatTakesTooLongIsKilled() {
    CommandGuest guest = new CommandGuest("sleep 1000", null, Duration.ofMillis(100));

    assertThatThrownBy(() -> guest.pause().block()).hasMessageContaining("longer than 100 ms");
    assertThat(ProcessHandle.current().descendants().filter(ProcessHandle::isAlive))
        .noneMatch(process -> process.info().commandLine().orElse("").contains("sleep 1000"));
  }

  @Test
  void aCommandThatThrottlesIsToldThePercentage() throws IOException {
    CommandGuest guest = guest(append("pause"), null);
    assertThat(guest.canThrottle()).isFalse();
    guest.withThrottle(new CommandThrottle(append("$1 = $PAGEFLUX_THROTTLE"), LONG));
    assertThat(guest.canThrottle()).isTrue();
    guest.throttle(30).block();
    guest.pause().block();
    guest.throttle(0).block();
    assertThat(log()).isEqualTo("30 = 30\npause\n0 = 0\n");
  }

  @Test
  void aCommandThatDoesNotThrottleSaysSo() {
    CommandGuest guest = guest(null, null).withThrottle(new CommandThrottle("exit 5", LONG));
    assertThatThrownBy(() -> guest.throttle(30).block())
        .isInstanceOf(MigrationException.class)
        .hasMessage("the command of --on-throttle failed with exit code 5: exit 5");
  }

  @Test
  void aGuestWithoutCommandsNeedsNothing() {
    CommandGuest guest = guest(null, null);
    guest.pause().block();
    guest.resume().block();
    assertThat(guest.resumeFailure()).isNull();
  }
}
