package io.pageflux.qemu.testing;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The lines that the Linux test guest writes on its first serial port; {@code
 * src/test/linux-guest/guest.c} says what they mean.
 *
 * <p>Keeps all lines, which are fewer than twelve a second and shorter than 256 bytes. Thread-safe.
 */
final class GuestConsole {

  /** What an "ok" line counts. */
  record Progress(long round, long generation, long checked, long bad, long behind, long uptime) {}

  private static final Pattern OK =
      Pattern.compile(
          "PF ok round=(\\d+) gen=(\\d+) checked=(\\d+) bad=(\\d+) behind=(\\d+) uptime_ms=(\\d+)");

  private final StringBuilder partial = new StringBuilder();
  private final List<String> lines = new ArrayList<>();
  private boolean ended;

  synchronized void accept(ByteBuffer bytes) {
    CharSequence text = StandardCharsets.ISO_8859_1.decode(bytes);
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '\n') {
        lines.add(partial.toString());
        partial.setLength(0);
        notifyAll();
      } else if (c != '\r') {
        partial.append(c);
      }
    }
  }

  synchronized void end() {
    ended = true;
    notifyAll();
  }

  synchronized List<String> lines() {
    return List.copyOf(lines);
  }

  /** What a line counts, or null if it is another line, or only the end of one. */
  static @Nullable Progress progress(String line) {
    Matcher ok = OK.matcher(line);
    if (!ok.matches()) {
      return null;
    }
    long[] numbers = new long[6];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = Long.parseLong(ok.group(i + 1));
    }
    return new Progress(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]);
  }

  /** True of a line by which the guest says that its memory is wrong, or that it gave up. */
  static boolean isBad(String line) {
    if (line.contains("PF BAD") || line.contains("PF FAIL") || line.contains("Kernel panic")) {
      return true;
    }
    Progress progress = progress(line);
    return progress != null && progress.bad() > 0;
  }

  /**
   * Waits for a line, which may have been there before.
   *
   * @return its index in {@link #lines()}
   * @throws AssertionError if the guest reports bad memory before, or ends, or time runs out
   */
  synchronized int await(int from, Predicate<String> wanted, String what, Duration timeout)
      throws InterruptedException {
    long end = System.nanoTime() + timeout.toNanos();
    for (int next = from; ; next++) {
      while (next == lines.size()) {
        long left = (end - System.nanoTime()) / 1_000_000;
        if (ended || left <= 0) {
          String reason = ended ? "the guest ended" : "no such line in " + timeout;
          throw new AssertionError("waiting for " + what + ": " + reason + tail());
        }
        wait(left);
      }
      if (isBad(lines.get(next))) {
        throw new AssertionError("waiting for " + what + ": " + lines.get(next) + tail());
      }
      if (wanted.test(lines.get(next))) {
        return next;
      }
    }
  }

  private String tail() {
    List<String> last = lines.subList(Math.max(0, lines.size() - 20), lines.size());
    return "; the last lines of its console:\n" + String.join("\n", last) + "\n" + partial;
  }
}
