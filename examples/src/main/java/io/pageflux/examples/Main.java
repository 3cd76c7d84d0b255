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
import java.util.List;
import java.util.Locale;

/** The command line: {@code pageflux COMMAND}. */
public final class Main {

  private static final Duration PATIENCE_WHEN_INTERRUPTED = Duration.ofSeconds(20);

  private Main() {}

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
    return PagefluxCommand.run(
        console,
        List.of(
            new DemoCommand(console),
            new SendCommand(console),
            new ReceiveCommand(console),
            new CtlCommand(console),
            new InspectCommand(console),
            new RelayCommand(console),
            new QemuCaptureCommand(console),
            new QemuInspectCommand(console),
            new QemuMigrateCommand(console),
            new QemuResumeCommand(console),
            new QmpCommand(console),
            new BenchCommand(console),
            new PostcopyBenchCommand(console),
            new RecoveryBenchCommand(console),
            new QemuBenchCommand(console),
            new PredictCommand(console),
            new PredictBenchCommand(console),
            new ConvergeBenchCommand(console),
            new DowntimeBenchCommand(console),
            new CheckpointBenchCommand(console),
            new FaultBenchCommand(console),
            new FaultPartyCommand(console),
            new DemoSource(console),
            new CheckpointSourceCommand(console),
            new CheckpointDestinationCommand(console),
            new DemoDestination(console)),
        args);
  }
}
