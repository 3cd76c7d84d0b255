package io.pageflux.examples.demo;

import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.report.JsonReport;
import java.io.IOException;
import java.io.PrintStream;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code pageflux demo}. */
@Command(
    name = "demo",
    header = "Migrate a running key-value store from one process to another, and verify it.",
    description = {
      "Starts two processes. The store is being written all the time: at the source until it is"
          + " paused for the last round, and then at the destination, where at last every record is"
          + " verified. The exit code is 0 only if all are as they should be."
    })
public final class DemoCommand implements Callable<Integer> {

  private final Console console;

  @Mixin private DemoOptions options = new DemoOptions();

  @Option(
      names = "--json",
      arity = "0..1",
      paramLabel = "FILE",
      fallbackValue = "-",
      description = "Write a report like QEMU's query-migrate; - or nothing is standard output.")
  private @Nullable String json;

  /** Made with what it talks to. */
  public DemoCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    options.requireSense();
    JsonReport report = new JsonReport(json, console.out());
    report.requireWritable();
    PrintStream people = report.takesStandardOutput() ? console.err() : console.out();
    DemoRun.Result result = new DemoRun(console, options, people).run();
    CheckpointDemoReport checkpoints = result.checkpoints();
    if (options.checkpoints().isGiven()) {
      checkpoints.print(result, people);
      report.write(checkpoints.json(options, result));
    } else {
      DemoReport.print(options, result, people);
      report.write(DemoReport.json(options, result));
    }
    if (result.failure() != null) {
      throw DemoRun.failure(result);
    }
    return ExitCode.OK;
  }
}
