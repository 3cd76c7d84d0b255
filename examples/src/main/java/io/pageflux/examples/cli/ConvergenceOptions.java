package io.pageflux.examples.cli;

import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.Intent;
import io.pageflux.convergence.IntentPolicy;
import io.pageflux.convergence.RampedDowntime;
import io.pageflux.convergence.RampedDowntime.Ramp;
import io.pageflux.convergence.SwitchOverCost;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** How a guest that writes too fast is dealt with. */
public final class ConvergenceOptions {

  @Option(
      names = "--auto-converge",
      description =
          "Throttle a guest that writes too fast, by QEMU's rule: 20 %% at first, then 10 %% more at"
              + " a time.")
  private boolean autoConverge;

  @Option(
      names = "--intent",
      paramLabel = "INTENT",
      description =
          "What matters: short-downtime (throttle the guest rather than exceed the limit),"
              + " short-migration (raise the limit to 3.5 times itself first), or"
              + " finish-within=DURATION.")
  private @Nullable Intent intent;

  @Option(
      names = "--ramp-downtime",
      arity = "0..1",
      paramLabel = "FROM..TO",
      fallbackValue = "150ms..1050ms",
      description =
          "Raise the limit of the downtime in 7 steps until it is met, from the third round on and"
              + " every 10 s (${FALLBACK-VALUE}); --downtime-limit has no meaning then.")
  private @Nullable Ramp ramp;

  @Option(
      names = "--switchover-cost",
      paramLabel = "DURATION",
      description =
          "What pausing the guest, saving and loading its devices' state and starting it takes, if"
              + " that is known from an earlier migration; the expected downtime includes it.")
  private @Nullable Duration switchOverCost;

  @Mixin private ThrottleOptions throttle = new ThrottleOptions();

  /** Made by picocli. */
  public ConvergenceOptions() {}

  /**
   * Refuses what contradicts itself.
   *
   * @throws CliException if so
   */
  public void requireSense() {
    if (Stream.of(autoConverge, intent != null, ramp != null).filter(given -> given).count() > 1) {
      throw new CliException(
          "--auto-converge, --intent and --ramp-downtime are ways to decide: give one of them",
          ExitCode.USAGE);
    }
    List<String> rule = throttle.arguments();
    if (!autoConverge && !rule.isEmpty()) {
      throw new CliException(
          "%s is of the rule of --auto-converge, which is not given".formatted(rule.getFirst()),
          ExitCode.USAGE);
    }
    throttle.settings();
  }

  /** {@return the policy asked for, or else another one} */
  public ConvergencePolicy.Maker policyOr(ConvergencePolicy.Maker other) {
    Intent wanted = intent;
    if (wanted != null) {
      return IntentPolicy.of(wanted);
    }
    Ramp limits = ramp;
    if (limits != null) {
      return given -> new RampedDowntime(given, limits);
    }
    return autoConverge ? AutoConverge.by(throttle.settings()) : other;
  }

  /** {@return what is known of a switch-over's cost} */
  public SwitchOverCost switchOverCost() {
    Duration cost = switchOverCost;
    return cost == null ? SwitchOverCost.unknown() : SwitchOverCost.of(cost);
  }

  /** {@return whether a policy was asked for} */
  public boolean isGiven() {
    return autoConverge || intent != null || ramp != null;
  }

  /** {@return whether the policy is of no use for a guest that cannot be throttled} */
  public boolean needsThrottle() {
    return autoConverge;
  }

  /** {@return what was asked for, for people} */
  public String text() {
    Intent wanted = intent;
    return autoConverge
        ? "auto-converge"
        : ramp != null ? "ramped limit" : wanted == null ? "fixed limit" : wanted.toString();
  }

  /** {@return arguments from which a process gets the same options} */
  public List<String> arguments() {
    List<String> arguments = new ArrayList<>();
    if (autoConverge) {
      arguments.add("--auto-converge");
    }
    if (intent != null) {
      arguments.add("--intent=" + IntentChoice.text(intent));
    }
    Duration cost = switchOverCost;
    if (cost != null) {
      arguments.add("--switchover-cost=" + cost.toNanos() / 1000 + "us");
    }
    if (ramp != null) {
      arguments.add("--ramp-downtime=" + RampChoice.text(ramp));
    }
    arguments.addAll(throttle.arguments());
    return arguments;
  }
}
