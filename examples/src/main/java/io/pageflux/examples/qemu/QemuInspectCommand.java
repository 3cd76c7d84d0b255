package io.pageflux.examples.qemu;

import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.report.JsonReport;
import io.pageflux.qemu.stream.QemuInspection;
import io.pageflux.qemu.stream.QemuStreamSummary;
import io.pageflux.qemu.stream.StreamSummaryJson;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code pageflux qemu-inspect}. */
@Command(
    name = "qemu-inspect",
    header = "Summarise a captured QEMU migration stream.",
    description = {
      "Counts sections, RAM blocks and page records by their form, names the pages that were sent"
          + " most often, and lists the devices. The last line says what is wrong with the stream,"
          + " if anything is; the exit code is 1 then.",
      "A stream is captured with 'pageflux qemu-capture', or with QEMU's"
          + " 'migrate \"exec:cat > FILE\"'."
    })
public final class QemuInspectCommand implements Callable<Integer> {

  private final Console console;

  @Parameters(paramLabel = "FILE", description = "The captured stream.")
  private Path file = Path.of("");

  @Option(
      names = {"--json"},
      description = "Print JSON.")
  private boolean json;

  /**
   * Makes the command.
   *
   * @param console where the summary goes
   */
  public QemuInspectCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    if (Files.isDirectory(file)) {
      throw new IOException(file + " is a folder: give a file that holds a captured stream");
    }
    QemuStreamSummary summary = QemuInspection.inspect(file);
    if (json) {
      new JsonReport("-", console.out()).write(StreamSummaryJson.of(summary));
    } else {
      StreamSummaryText.of(summary).forEach(console.out()::println);
    }
    return summary.error().isEmpty() ? ExitCode.OK : ExitCode.FAILED;
  }
}
