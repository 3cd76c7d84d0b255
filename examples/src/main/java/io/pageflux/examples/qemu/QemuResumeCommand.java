package io.pageflux.examples.qemu;

import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Durations;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.report.JsonReport;
import io.pageflux.examples.report.MigrationSummary;
import io.pageflux.qemu.postcopy.PostcopyInfo;
import io.pageflux.qemu.postcopy.PostcopyJson;
import io.pageflux.qemu.postcopy.PostcopySpec;
import io.pageflux.qemu.postcopy.PostcopyStatus;
import io.pageflux.qemu.postcopy.QemuPostcopy;
import io.pageflux.qemu.postcopy.ServiceTimes;
import io.pageflux.transport.Connector;
import io.pageflux.transport.tcp.SocketTransport;
import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import reactor.util.retry.Retry;

/** {@code pageflux qemu-resume}. */
@Command(
    name = "qemu-resume",
    header = "Run a captured guest at once; its memory follows.",
    description = {
      "The guest of a capture (qemu-capture) runs at once in a QEMU that fetches its memory while it"
          + " runs (post-copy): pages that the guest waits for come first. Start that QEMU with the"
          + " same machine and with '-incoming defer', switch on its capability postcopy-ram, and"
          + " say migrate-incoming.",
      "If the connection breaks, the guest stands still there in the state postcopy-paused. Say"
          + " migrate-recover there, with the same address, and it goes on; if this command has"
          + " ended meanwhile, run it again with --recover. The capture is only read. But once the"
          + " guest has run, do not start it from the capture again."
    })
public final class QemuResumeCommand implements Callable<Integer> {

  /** What waits in the socket cannot be overtaken by a page that the guest waits for. */
  private static final int QEMU_BUFFER_BYTES = 64 << 10;

  private static final Duration FIRST_ATTEMPT = Duration.ofMillis(100);
  private static final Duration LONGEST_PAUSE = Duration.ofSeconds(2);

  private final Console console;

  @Parameters(paramLabel = "DIR", description = "The capture.")
  private Path directory = Path.of("");

  @Option(
      names = "--connect",
      required = true,
      paramLabel = "ENDPOINT",
      description = "Where QEMU waits: HOST:PORT, unix:PATH, or PORT of this host.")
  private Endpoint connect = Endpoint.ANY_PORT;

  @Option(
      names = "--recover",
      description =
          "The guest is there already, in the state postcopy-paused: send what is missing.")
  private boolean recover;

  @Option(
      names = "--attempts",
      paramLabel = "N",
      defaultValue = "300",
      description =
          "How often to connect again after the connection was lost, every 100 ms at first and then"
              + " every 2 s (${DEFAULT-VALUE}).")
  private int attempts;

  @Option(
      names = "--background-limit",
      paramLabel = "RATE",
      description =
          "How fast to send pages that the guest does not wait for, such as 100m or 1gbit; without"
              + " it, as fast as QEMU takes them.")
  private @Nullable ByteRate backgroundLimit;

  @Option(
      names = "--host-page",
      paramLabel = "BLOCK=SIZE",
      description =
          "A RAM block is in huge pages at the destination, such as pc.ram=2m; may be given again.")
  private Map<String, ByteSize> hostPages = new HashMap<>();

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write the report there, too; - is standard output.")
  private @Nullable String json;

  private @Nullable PostcopyStatus shown;

  /** Made with what it talks to. */
  public QemuResumeCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    JsonReport report = new JsonReport(json, console.out());
    report.requireWritable();
    PrintStream people = report.takesStandardOutput() ? console.err() : console.out();
    Connector connector =
        SocketTransport.connector(connect.spec().withSocketBuffers(QEMU_BUFFER_BYTES, 0));
    try {
      PostcopyInfo complete =
          Objects.requireNonNull(
              QemuPostcopy.resume(spec(), connector, console.interruption().requests())
                  .doOnNext(this::show)
                  .blockLast());
      people.println("complete  " + summary(complete));
      people.println("faults    " + faults(complete));
      report.write(PostcopyJson.of(complete));
      return ExitCode.OK;
    } catch (RuntimeException e) {
      if (!console.interruption().requested()) {
        throw e;
      }
      console.err().println("pageflux: " + Failures.describe(e));
      return ExitCode.INTERRUPTED;
    }
  }

  private PostcopySpec spec() {
    Map<String, Integer> hostPageBytes = new HashMap<>();
    hostPages.forEach(
        (block, size) ->
            hostPageBytes.put(block, Math.toIntExact(Math.min(size.bytes(), 1 << 30))));
    return PostcopySpec.of(directory)
        .withRecovering(recover)
        .withRecovery(Retry.backoff(attempts, FIRST_ATTEMPT).maxBackoff(LONGEST_PAUSE))
        .withHostPageBytes(hostPageBytes)
        .withBackgroundBytesPerSecond(
            backgroundLimit == null ? 0 : Math.max(1, backgroundLimit.bytesPerSecond()));
  }

  private void show(PostcopyInfo info) {
    if (info.status() != shown) {
      shown = info.status();
      String what = whatHappens(info);
      if (!what.isEmpty()) {
        console.err().println(what);
      }
    }
    if (info.status() == PostcopyStatus.ACTIVE) {
      console.err().println("resuming  " + summary(info));
    }
  }

  private static String whatHappens(PostcopyInfo info) {
    return switch (info.status()) {
      case ACTIVE ->
          info.recoveries() > 0
              ? "recovered the guest goes on"
              : "running   the guest has its devices after " + Durations.text(info.toRunning());
      case PAUSED ->
          "paused    the connection is lost, and the guest stands still: say migrate-recover to its"
              + " QEMU";
      case STARTING, HANDING_OVER, RECOVERING, COMPLETED -> "";
    };
  }

  private static String summary(PostcopyInfo info) {
    return "%s of %s pages in %s: %s zero, %s whole; %s on request, %s in the background, %s of devices%s"
        .formatted(
            MigrationSummary.grouped(info.pages() - info.pagesLeft()),
            MigrationSummary.grouped(info.pages()),
            Durations.text(info.duration()),
            MigrationSummary.grouped(info.zeroPages()),
            MigrationSummary.grouped(info.wholePages()),
            Bytes.text(info.requestedBytes()),
            Bytes.text(info.backgroundBytes()),
            Bytes.text(info.deviceBytes()),
            info.recoveries() == 0 ? "" : "; recovered %d times".formatted(info.recoveries()));
  }

  private static String faults(PostcopyInfo info) {
    ServiceTimes times = info.serviceTimes();
    return String.format(
        Locale.ROOT,
        "%s requests, served in %.0f us (median), %.0f us (p99), %.0f us (longest); %s came late",
        MigrationSummary.grouped(info.requests()),
        times.quantileNanos(0.5) / 1e3,
        times.quantileNanos(0.99) / 1e3,
        times.maxNanos() / 1e3,
        MigrationSummary.grouped(info.vainRequests()));
  }
}
