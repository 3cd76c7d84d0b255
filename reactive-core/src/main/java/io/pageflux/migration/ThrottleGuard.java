package io.pageflux.migration;

import java.io.IOException;
import java.io.OutputStream;
import java.lang.ProcessBuilder.Redirect;
import java.nio.charset.StandardCharsets;

/**
 * Lets a throttled process go on if this JVM ends without having done so itself, by SIGKILL for
 * one: a shell that waits for a word from here, and sends SIGCONT if its input ends without one.
 *
 * <p>What interrupts or terminates this JVM's process group is ignored by it: the JVM has hooks for
 * that. Only who kills the shell as well leaves a process stopped.
 */
final class ThrottleGuard {

  private static final String SCRIPT = "trap '' HUP INT TERM; read -r over || kill -CONT \"$0\"";

  private final Process shell;

  private ThrottleGuard(Process shell) {
    this.shell = shell;
  }

  /**
   * Starts one, which stands guard from when this returns.
   *
   * @throws IOException if there is no shell
   */
  static ThrottleGuard of(long pid) throws IOException {
    return new ThrottleGuard(
        new ProcessBuilder("/bin/sh", "-c", SCRIPT, Long.toString(pid))
            .redirectOutput(Redirect.DISCARD)
            .redirectError(Redirect.DISCARD)
            .start());
  }

  /** Sends it away. From here on it sends no signal, whatever becomes of this JVM. */
  void dismiss() {
    try (OutputStream word = shell.getOutputStream()) {
      word.write("over\n".getBytes(StandardCharsets.US_ASCII));
    } catch (IOException e) {
      // It has been killed, so it sends nothing.
    }
  }
}
