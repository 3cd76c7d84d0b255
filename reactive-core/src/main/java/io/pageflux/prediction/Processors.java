package io.pageflux.prediction;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * How busy this machine's processors are, by what the kernel counts of all of them together ({@code
 * /proc/stat}: time in hundredths of a second, by what it was used for).
 *
 * @param busyTicks what they worked
 * @param allTicks that, and what they had nothing to do
 */
record Processors(long busyTicks, long allTicks) {

  private static final Path STAT = Path.of("/proc/stat");

  // user nice system idle iowait irq softirq steal; the guest's time is in user, and in nice.
  private static final int COUNTED = 8;
  private static final int IDLE = 3;
  private static final int IOWAIT = 4;

  /** {@return what was counted until now; nothing where it is not told} */
  static Processors now() {
    try {
      return parse(Files.readString(STAT, StandardCharsets.US_ASCII));
    } catch (IOException | NumberFormatException e) {
      return new Processors(0, 0);
    }
  }

  static Processors parse(String stat) {
    String[] fields = stat.lines().findFirst().orElse("").split(" +");
    long busy = 0;
    long all = 0;
    for (int i = 0; i < COUNTED && i + 1 < fields.length; i++) {
      long ticks = Long.parseLong(fields[i + 1]);
      all += ticks;
      busy += i == IDLE || i == IOWAIT ? 0 : ticks;
    }
    return new Processors(busy, all);
  }

  /**
   * {@return how many processors somebody who comes gets, of so many}
   *
   * <p>Those that others do not need; and a half of all at the least, for the kernel divides them
   * fairly.
   *
   * @param earlier what was counted before
   * @param ownPart which part of the time since then was one's own, of one processor
   */
  double left(Processors earlier, double ownPart, int processors) {
    long all = allTicks - earlier.allTicks;
    double busy = all <= 0 ? 0 : (double) (busyTicks - earlier.busyTicks) / all * processors;
    double others = Math.max(0, busy - ownPart);
    return Math.max(processors / 2.0, processors - others);
  }
}
