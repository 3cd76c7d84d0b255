package io.pageflux.examples.qemu;

import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Durations;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.report.JsonReport;
import io.pageflux.examples.report.MigrationSummary;
import io.pageflux.qemu.capture.CaptureInfo;
import io.pageflux.qemu.capture.CaptureJson;
import io.pageflux.qemu.capture.CaptureSpec;
import io.pageflux.qemu.capture.QemuCapture;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.tcp.SocketTransport;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code pageflux qemu-capture}. */
@Command(
    name = "qemu-capture",
    header = "Capture a guest that QEMU migrates to here.",
    description = {
      "Waits for one QEMU, which migrates with 'migrate tcp:HOST:PORT', and writes: DIR/stream, which"
          + " another QEMU loads with -incoming 'exec:cat DIR/stream'; DIR/NAME.ram, the memory of"
          + " each RAM block; and, when all is complete, DIR/capture.json, which says what it is."
          + " Until then the files are called *.partial, and stay so if the capture fails.",
      "Switch on the capability return-path in QEMU: its guest goes on then if the capture fails."
          + " Leave multifd and postcopy-ram off."
    })
public final class QemuCaptureCommand implements Callable<Integer> {

  private final Console console;

  @Parameters(paramLabel = "DIR", description = "A new or an empty directory.")
  private Path directory = Path.of("");

  @Option(
      names = "--listen",
      required = true,
      paramLabel = "ENDPOINT",
      description = "Where QEMU migrates to: HOST:PORT, unix:PATH, or PORT for this host only.")
  private Endpoint listen = Endpoint.ANY_PORT;

  @Option(
      names = "--max-ram",
      paramLabel = "SIZE",
      defaultValue = "1t",
      description = "The most RAM that a guest may have (${DEFAULT-VALUE}).")
  private ByteSize maxRam = new ByteSize(CaptureSpec.DEFAULT_MAX_RAM_BYTES);

  @Option(
      names = "--no-description",
      description =
          "The machine has suppress-vmdesc=on: the end of the connection is the end of the stream,"
              + " and the capability return-path must be off.")
  private boolean noDescription;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write what is in DIR/capture.json there, too; - is standard output.")
  private @Nullable String json;

  /** Made with what it talks to. */
  public QemuCaptureCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    JsonReport report = new JsonReport(json, console.out());
    report.requireWritable();
    PrintStream people = report.takesStandardOutput() ? console.err() : console.out();
    CaptureSpec spec =
        CaptureSpec.of(directory).withMaxRamBytes(maxRam.bytes()).withDescription(!noDescription);
    QemuCapture.prepare(spec);
    Acceptor acceptor = Objects.requireNonNull(SocketTransport.listen(listen.spec()).block());
    try {
      people.println(
          "waiting for QEMU: migrate %s%s"
              .formatted(listen instanceof Endpoint.Tcp ? "tcp:" : "", acceptor.address()));
      CaptureInfo complete =
          Objects.requireNonNull(
              QemuCapture.of(spec, acceptor, console.interruption().requests())
                  .doOnNext(this::show)
                  .blockLast());
      people.println("complete  " + summary(complete));
      report.write(CaptureJson.of(complete));
      return ExitCode.OK;
    } catch (RuntimeException e) {
      if (!console.interruption().requested()) {
        throw e;
      }
      console.err().println("pageflux: " + Failures.describe(e));
      return ExitCode.INTERRUPTED;
    } finally {
      acceptor.dispose();
    }
  }

  private void show(CaptureInfo info) {
    if (!info.complete()) {
      console.err().println("capturing " + summary(info));
    }
  }

  private static String summary(CaptureInfo info) {
    double seconds = Math.max(info.duration().toNanos() / 1e9, 1e-3);
    return "%s in %s: %s, %s; guest of %s in %d blocks; pages: %s zero, %s whole, %s as deltas%s"
        .formatted(
            Bytes.text(info.streamBytes()),
            Durations.text(info.duration()),
            Bytes.rate(info.streamBytes() / seconds),
            info.returnPath() ? "with return path" : "no return path",
            Bytes.text(info.ramBytes()),
            info.images().size(),
            MigrationSummary.grouped(info.zeroPages()),
            MigrationSummary.grouped(info.wholePages()),
            MigrationSummary.grouped(info.deltaPages()),
            info.complete() ? "; in " + info.directory() : "");
  }
}
