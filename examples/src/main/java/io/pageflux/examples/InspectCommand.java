package io.pageflux.examples;

import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.wire.WirePrinter;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** {@code pageflux inspect}. */
@Command(
    name = "inspect",
    header = "Print a captured migration stream, record by record.",
    description = {
      "The file holds one direction of a connection. The last line says what is wrong with it, if"
          + " anything is; the exit code is 1 then."
    })
final class InspectCommand implements Callable<Integer> {

  private final Console console;

  @Parameters(paramLabel = "FILE", description = "The captured stream.")
  private Path file = Path.of("");

  InspectCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    if (Files.isDirectory(file)) {
      throw new IOException(file + " is a folder: give a file that holds a captured stream");
    }
    PrintWriter text = new PrintWriter(new BufferedWriter(new PrintWriter(console.out())));
    boolean inOrder = WirePrinter.print(file, text);
    text.flush();
    return inOrder ? ExitCode.OK : ExitCode.FAILED;
  }
}
