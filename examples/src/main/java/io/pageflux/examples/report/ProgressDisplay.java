package io.pageflux.examples.report;

import com.fasterxml.jackson.databind.JsonNode;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Durations;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;

/**
 * Progress on standard error: one line that is rewritten on a terminal, a line now and then
 * elsewhere.
 *
 * <p>For one thread at a time.
 */
public final class ProgressDisplay {

  private static final int BAR_CELLS = 12;
  private static final int MOST_COLUMNS = 79;

  /** One round without progress is nothing unusual. */
  private static final int STALLED_ROUNDS = 2;

  private static final Duration PLAIN_INTERVAL = Duration.ofSeconds(2);
  private static final String GREEN = "\u001B[32m";
  private static final String PLAIN = "\u001B[0m";

  private final PrintStream err;
  private final boolean rewrite;
  private final boolean colour;
  private long lastPlainNanos;
  private int shown;

  /**
   * @param err standard error
   * @param rewrite whether it is a terminal
   * @param colour whether it may have colours
   */
  public ProgressDisplay(PrintStream err, boolean rewrite, boolean colour) {
    this.err = err;
    this.rewrite = rewrite;
    this.colour = colour;
    this.lastPlainNanos = System.nanoTime();
  }

  /** {@return a display on standard error as it is} */
  public static ProgressDisplay onStandardError(PrintStream err) {
    return new ProgressDisplay(err, Terminal.canRewriteErrorLine(), Terminal.mayColourErrorLine());
  }

  /**
   * Shows how things are.
   *
   * @param info as {@link MigrationJson}
   * @param round the current round; 0 before the first
   */
  public void show(JsonNode info, int round) {
    if (rewrite) {
      String text = line(info, round, true);
      err.print("\r" + coloured(text) + " ".repeat(Math.max(0, shown - text.length())));
      err.flush();
      shown = text.length();
    } else if (System.nanoTime() - lastPlainNanos >= PLAIN_INTERVAL.toNanos()) {
      lastPlainNanos = System.nanoTime();
      err.println(line(info, round, false));
    }
  }

  /** Makes room for other lines. */
  public void clear() {
    if (shown > 0) {
      err.print("\r" + " ".repeat(shown) + "\r");
      err.flush();
      shown = 0;
    }
  }

  private String coloured(String text) {
    int end = text.indexOf(']');
    return colour && end >= 0
        ? GREEN + text.substring(0, end + 1) + PLAIN + text.substring(end + 1)
        : text;
  }

  /** What is on its way to be sent; in bytes of memory only until those of the wire are known. */
  private static String left(JsonNode info, long remaining) {
    JsonNode wire = info.path("convergence").path("remaining-wire");
    return wire.isNumber() && info.path("status").asText().equals("active")
        ? Bytes.text(wire.asLong()) + " to send"
        : Bytes.text(remaining) + " left";
  }

  static String line(JsonNode info, int round, boolean bar) {
    JsonNode ram = info.path("ram");
    long total = ram.path("total").asLong();
    long remaining = Math.clamp(ram.path("remaining").asLong(), 0, Math.max(0, total));
    double done = total == 0 ? 0 : (double) (total - remaining) / total;
    int cells = (int) (done * BAR_CELLS);
    StringBuilder text = new StringBuilder();
    if (bar) {
      text.append('[').append("#".repeat(cells)).append(".".repeat(BAR_CELLS - cells)).append("] ");
    }
    text.append(String.format(Locale.ROOT, "%3d %%", (int) (done * 100)));
    if (round == 0) {
      return text.append("  ").append(info.path("status").asText()).toString();
    }
    text.append("  round ").append(round);
    text.append("  ").append(left(info, remaining));
    text.append("  ").append(Bytes.rate(ram.path("mbps").asDouble() * 1e6 / 8));
    long expected = info.path("expected-downtime").asLong();
    if (expected > 0) {
      text.append("  pause ").append(Durations.text(Duration.ofMillis(expected)));
    }
    int throttled = info.path("cpu-throttle-percentage").asInt();
    if (throttled > 0) {
      text.append("  -").append(throttled).append(" %");
    }
    int stalled = info.path("convergence").path("stalled-rounds").asInt();
    if (stalled >= STALLED_ROUNDS) {
      text.append("  stalled");
    }
    return text.length() > MOST_COLUMNS ? text.substring(0, MOST_COLUMNS) : text.toString();
  }
}
