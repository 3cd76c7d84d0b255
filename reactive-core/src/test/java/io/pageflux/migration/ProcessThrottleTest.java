package io.pageflux.migration;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.pageflux.MigrationException;
import java.io.File;
import java.io.IOException;
import java.lang.ProcessBuilder.Redirect;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class ProcessThrottleTest {

  private final Process process = start();

  private static Process start() {
    try {
      return new ProcessBuilder("sleep", "1000").start();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  @BeforeEach
  void awaitStart() throws IOException {
    awaitStopped(false);
  }

  @AfterEach
  void kill() {
    process.destroyForcibly();
  }

  private boolean isStopped() throws IOException {
    String stat = Files.readString(Path.of("/proc/" + process.pid() + "/stat"));
    return stat.charAt(stat.lastIndexOf(')') + 2) == 'T';
  }

  private void awaitStopped(boolean stopped) throws IOException {
    while (isStopped() != stopped) {
      assertThat(Thread.interrupted()).as("it took too long").isFalse();
      Thread.onSpinWait();
    }
  }

  private static boolean threadIsThere(long pid) {
    return Thread.getAllStackTraces().keySet().stream()
        .anyMatch(thread -> thread.getName().equals("throttle-" + pid) && thread.isAlive());
  }

  @Test
  void aThrottledProcessIsStoppedAndLetGoOnInTurns() throws IOException {
    ProcessThrottle throttle = new ProcessThrottle(process.pid());
    throttle.set(60);
    for (int i = 0; i < 3; i++) {
      awaitStopped(true);
      awaitStopped(false);
    }
    throttle.set(90);
    awaitStopped(true);
    throttle.set(0);
    assertThat(threadIsThere(process.pid())).isFalse();
    awaitStopped(false);
    throttle.set(50);
    awaitStopped(true);
    throttle.set(0);
    awaitStopped(false);
  }

  @Test
  void whoIsHeldIsNotLetGoOnAgain() throws IOException {
    ProcessThrottle throttle = new ProcessThrottle(process.pid());
    throttle.set(99);
    awaitStopped(true);
    throttle.hold();
    awaitStopped(false);
    assertThat(Signals.kill(process.pid(), Signals.SIGSTOP)).isZero();
    awaitStopped(true);
    throttle.set(50);
    throttle.set(0);
    assertThat(threadIsThere(process.pid())).isFalse();
    assertThat(isStopped()).isTrue();
  }

  /** Throttles the process whose number it is given, until it is killed. */
  static final class Throttler {
    public static void main(String... arguments) throws IOException {
      new ProcessThrottle(Long.parseLong(arguments[0])).set(99);
      System.out.println("throttled");
      System.in.read();
    }
  }

  @Test
  void whoIsThrottledByAJvmThatIsKilledGoesOn() throws Exception {
    Process jvm =
        new ProcessBuilder(
                System.getProperty("java.home") + "/bin/java",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path")
                    + File.pathSeparator
                    + System.getProperty("jdk.module.path", ""),
                Throttler.class.getName(),
                Long.toString(process.pid()))
            .redirectError(Redirect.INHERIT)
            .start();
    try {
      assertThat(jvm.inputReader().readLine()).isEqualTo("throttled");
      awaitStopped(true);
    } finally {
      jvm.destroyForcibly().waitFor(); // SIGKILL
    }
    awaitStopped(false);
  }

  @Test
  void aProcessThatIsGoneIsSpokenOf() throws Exception {
    process.destroyForcibly().waitFor();
    ProcessThrottle throttle = new ProcessThrottle(process.pid());
    assertThatThrownBy(() -> throttle.set(50))
        .isInstanceOf(MigrationException.class)
        .hasMessage("process %d cannot be sent signal 18: no such process (ESRCH)", process.pid());
    throttle.set(0);
    throttle.hold();
  }
}
