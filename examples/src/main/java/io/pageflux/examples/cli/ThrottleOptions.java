package io.pageflux.examples.cli;

import io.pageflux.convergence.AutoConverge;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** The constants of auto-converge's rule, with QEMU's names, ranges and defaults. */
final class ThrottleOptions {

  private static final String TRIGGER = "--throttle-trigger-threshold";
  private static final String INITIAL = "--cpu-throttle-initial";
  private static final String INCREMENT = "--cpu-throttle-increment";
  private static final String MAX = "--max-cpu-throttle";
  private static final String TAILSLOW = "--cpu-throttle-tailslow";

  @Option(
      names = TRIGGER,
      paramLabel = "PERCENT",
      description =
          "With --auto-converge, what part of what was acknowledged a guest may dirty: 1 to 100 (50).")
  private @Nullable Integer trigger;

  @Option(
      names = INITIAL,
      paramLabel = "PERCENT",
      description = "With --auto-converge, the first throttle: 1 to 99 (20).")
  private @Nullable Integer initial;

  @Option(
      names = INCREMENT,
      paramLabel = "PERCENT",
      description = "With --auto-converge, how much more is taken at a time: 1 to 99 (10).")
  private @Nullable Integer increment;

  @Option(
      names = MAX,
      paramLabel = "PERCENT",
      description =
          "With --auto-converge, the most that is taken: from the first throttle to 99 (99).")
  private @Nullable Integer max;

  @Option(names = TAILSLOW, description = "With --auto-converge, take smaller steps near the end.")
  private boolean tailslow;

  /** Made by picocli. */
  ThrottleOptions() {}

  private static int or(@Nullable Integer given, int otherwise) {
    return given == null ? otherwise : given;
  }

  /**
   * {@return the rule's settings}
   *
   * @throws CliException if one is out of range
   */
  AutoConverge.Settings settings() {
    AutoConverge.Settings normal = AutoConverge.Settings.DEFAULT;
    int first = inRange(INITIAL, or(initial, normal.initial()), 1, 99);
    return new AutoConverge.Settings(
        inRange(TRIGGER, or(trigger, normal.triggerThreshold()), 1, 100),
        first,
        inRange(INCREMENT, or(increment, normal.increment()), 1, 99),
        inRange(MAX, or(max, normal.max()), first, 99),
        tailslow);
  }

  private static int inRange(String name, int value, int least, int most) {
    if (value < least || value > most) {
      throw new CliException(
          "%s must be %d to %d, but it was %d".formatted(name, least, most, value), ExitCode.USAGE);
    }
    return value;
  }

  /** {@return arguments from which a process gets the same options} */
  List<String> arguments() {
    List<String> arguments = new ArrayList<>();
    add(arguments, TRIGGER, trigger);
    add(arguments, INITIAL, initial);
    add(arguments, INCREMENT, increment);
    add(arguments, MAX, max);
    if (tailslow) {
      arguments.add(TAILSLOW);
    }
    return arguments;
  }

  private static void add(List<String> arguments, String name, @Nullable Integer value) {
    if (value != null) {
      arguments.add(name + "=" + value);
    }
  }
}
