package io.pageflux.examples;

import io.pageflux.examples.bench.BenchCommand;
import io.pageflux.examples.bench.CheckpointBenchCommand;
import io.pageflux.examples.bench.convergence.ConvergeBenchCommand;
import io.pageflux.examples.bench.convergence.DowntimeBenchCommand;
import io.pageflux.examples.bench.postcopy.PostcopyBenchCommand;
import io.pageflux.examples.bench.qemu.QemuBenchCommand;
import io.pageflux.examples.bench.recovery.RecoveryBenchCommand;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Interruption;
import io.pageflux.examples.cli.Logging;
import io.pageflux.examples.cli.PagefluxCommand;
import io.pageflux.examples.control.CtlCommand;
import io.pageflux.examples.demo.CheckpointDestinationCommand;
import io.pageflux.examples.demo.CheckpointSourceCommand;
import io.pageflux.examples.demo.DemoCommand;
import io.pageflux.examples.demo.DemoDestination;
import io.pageflux.examples.demo.DemoSource;
import io.pageflux.examples.fault.FaultBenchCommand;
import io.pageflux.examples.fault.FaultPartyCommand;
import io.pageflux.examples.image.ReceiveCommand;
import io.pageflux.examples.image.SendCommand;
import io.pageflux.examples.predict.PredictBenchCommand;
import io.pageflux.examples.predict.PredictCommand;
import io.pageflux.examples.qemu.QemuCaptureCommand;
import io.pageflux.examples.qemu.QemuInspectCommand;
import io.pageflux.examples.qemu.QemuMigrateCommand;
import io.pageflux.examples.qemu.QemuResumeCommand;
import io.pageflux.examples.qemu.QmpCommand;
import io.pageflux.examples.qemu.RelayCommand;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.SequencedMap;
import java.util.function.Function;

/** The command line: {@code pageflux COMMAND}. */
public final class Main {

  private static final Duration PATIENCE_WHEN_INTERRUPTED = Duration.ofSeconds(20);

  private static final SequencedMap<String, Function<Console, Object>> COMMANDS = commands();

  private Main() {}

  /** In the order in which they are listed. */
  private static SequencedMap<String, Function<Console, Object>> commands() {
    SequencedMap<String, Function<Console, Object>> commands = new LinkedHashMap<>();
    commands.put("demo", DemoCommand::new);
    commands.put("send", SendCommand::new);
    commands.put("receive", ReceiveCommand::new);
    commands.put("ctl", CtlCommand::new);
    commands.put("inspect", InspectCommand::new);
    commands.put("qemu-relay", RelayCommand::new);
    commands.put("qemu-capture", QemuCaptureCommand::new);
    commands.put("qemu-inspect", QemuInspectCommand::new);
    commands.put("qemu-migrate", QemuMigrateCommand::new);
    commands.put("qemu-resume", QemuResumeCommand::new);
    commands.put("qmp", QmpCommand::new);
    commands.put("bench", BenchCommand::new);
    commands.put("postcopy-bench", PostcopyBenchCommand::new);
    commands.put("recovery-bench", RecoveryBenchCommand::new);
    commands.put("qemu-bench", QemuBenchCommand::new);
    commands.put("predict", PredictCommand::new);
    commands.put("predict-bench", PredictBenchCommand::new);
    commands.put("converge-bench", ConvergeBenchCommand::new);
    commands.put("downtime-bench", DowntimeBenchCommand::new);
    commands.put("checkpoint-bench", CheckpointBenchCommand::new);
    commands.put("fault-bench", FaultBenchCommand::new);
    commands.put("fault-party", FaultPartyCommand::new);
    commands.put("demo-source", DemoSource::new);
    commands.put("demo-checkpoint-source", CheckpointSourceCommand::new);
    commands.put("demo-checkpoint-destination", CheckpointDestinationCommand::new);
    commands.put("demo-destination", DemoDestination::new);
    return commands;
  }

  /** Runs a command and exits with its exit code. */
  public static void main(String[] args) {
    // All that is said is in English, and some of it is read by programs.
    Locale.setDefault(Locale.Category.FORMAT, Locale.ROOT);
    Logging.configure(false);
    Interruption interruption = Interruption.install(PATIENCE_WHEN_INTERRUPTED);
    int exitCode = run(new Console(System.out, System.err, interruption), args);
    System.out.flush();
    System.err.flush();
    interruption.finished(exitCode);
    System.exit(exitCode);
  }

  /** Runs a command. {@return its exit code} */
  public static int run(Console console, String... args) {
    return PagefluxCommand.run(console, COMMANDS, args);
  }
}
