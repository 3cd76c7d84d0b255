package io.pageflux.examples.cli;

import io.pageflux.convergence.AutoConverge;
import io.pageflux.convergence.ConvergencePolicy;
import io.pageflux.convergence.Intent;
import io.pageflux.convergence.IntentPolicy;
import io.pageflux.convergence.SwitchOverCost;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
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
      names = "--switchover-cost",
      paramLabel = "DURATION",
      description =
          "What pausing the guest, saving and loading its devices' state and starting it takes, if"
              + " that is known from an earlier migration; the expected downtime includes it.")
  private @Nullable Duration switchOverCost;

  /** Made by picocli. */
  public ConvergenceOptions() {}

  /**
   * Refuses what contradicts itself.
   *
   * @throws CliException if so
   */
  public void requireSense() {
    if (autoConverge && intent != null) {
      throw new CliException(
          "--auto-converge and --intent are two ways to decide: give one of them", ExitCode.USAGE);
    }
  }

  /** {@return the policy asked for, or else another one} */
  public ConvergencePolicy.Maker policyOr(ConvergencePolicy.Maker other) {
    Intent wanted = intent;
    if (wanted != null) {
      return IntentPolicy.of(wanted);
    }
    return autoConverge ? AutoConverge::new : other;
  }

  /** {@return what is known of a switch-over's cost} */
  public SwitchOverCost switchOverCost() {
    Duration cost = switchOverCost;
    return cost == null ? SwitchOverCost.unknown() : SwitchOverCost.of(cost);
  }

  /** {@return whether a policy was asked for} */
  public boolean isGiven() {
    return autoConverge || intent != null;
  }

  /** {@return what was asked for, for people} */
  public String text() {
    Intent wanted = intent;
    return autoConverge ? "auto-converge" : wanted == null ? "fixed limit" : wanted.toString();
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
    return arguments;
  }
}
