package io.pageflux.examples.image;

import io.pageflux.MigrationException;
import io.pageflux.convergence.Intent;
import io.pageflux.convergence.IntentPolicy;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.CodecOptions;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ConvergenceOptions;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.cli.LimitOptions;
import io.pageflux.examples.cli.Reconnection;
import io.pageflux.examples.control.ControlServer;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.OutgoingControl;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.transport.tcp.SocketTransport;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import reactor.core.publisher.Mono;

/** {@code pageflux send}. */
@Command(
    name = "send",
    header = "Send a memory image, which another process may be writing, to 'pageflux receive'.",
    description = {
      "The image is sent in rounds while it is being written: first all of it, then, each time, the"
          + " pages that have changed since. When the rest can be sent within the downtime limit,"
          + " the command of --on-switchover stops whoever writes, the last round is sent, and both"
          + " files are equal byte for byte. Without that command, the image must not change any"
          + " more by then.",
      "If the migration fails after that command was started and before the destination was told to"
          + " take over, the command of --on-failure is run, which is to let the writer go on."
    })
public final class SendCommand implements Callable<Integer> {

  private static final String GOES_ON = "the guest goes on at the source";

  private final Console console;
  private final OutgoingControl controller = new OutgoingControl();

  @Option(
      names = "--connect",
      required = true,
      paramLabel = "ENDPOINT",
      description = "Where 'pageflux receive' listens: HOST:PORT, unix:PATH, or PORT on this host.")
  private Endpoint endpoint = Endpoint.ANY_PORT;

  @Option(
      names = "--memory",
      required = true,
      paramLabel = "FILE",
      description = "The image: a regular file, a multiple of 4096 bytes long.")
  private Path file = Path.of("");

  @Option(
      names = "--max-bandwidth",
      paramLabel = "RATE",
      description = "Send no more than this per second (no limit).")
  private @Nullable ByteRate maxBandwidth;

  @Mixin private LimitOptions limits = new LimitOptions();

  @Mixin private CodecOptions codec = CodecOptions.compressing();

  @Option(
      names = "--reconnect",
      paramLabel = "N",
      defaultValue = "10",
      description =
          "How often in a row a lost connection is made again, with growing pauses, if the"
              + " destination awaits that: 'pageflux receive --reconnect' (${DEFAULT-VALUE}).")
  private int reconnect;

  @Option(
      names = "--on-switchover",
      paramLabel = "COMMAND",
      description =
          "Run by sh before the last round: must stop whoever writes the image, and exit with 0.")
  private @Nullable String onSwitchover;

  @Option(
      names = "--on-failure",
      paramLabel = "COMMAND",
      description = "Run by sh if the migration fails after that: lets the writer go on.")
  private @Nullable String onFailure;

  @Mixin private ConvergenceOptions convergence = new ConvergenceOptions();

  @Option(
      names = "--on-throttle",
      paramLabel = "COMMAND",
      description =
          "Run by sh to slow down whoever writes the image, by $PAGEFLUX_THROTTLE percent of its"
              + " time (also $1); 0 when the migration ends, whatever its end.")
  private @Nullable String onThrottle;

  @Option(
      names = "--throttle-pid",
      paramLabel = "PID",
      description = "Slow down this process instead, by stopping it for a part of the time.")
  private @Nullable Long throttlePid;

  @Option(
      names = "--pause-before-switchover",
      arity = "0..1",
      paramLabel = "MAX",
      fallbackValue = "5m",
      description =
          "When the writer is stopped, wait for 'pageflux ctl PATH continue' before the last round;"
              + " give up, and let it go on, after this time (${FALLBACK-VALUE}). Needs --control.")
  private @Nullable Duration pauseBeforeSwitchover;

  @Option(
      names = "--command-timeout",
      paramLabel = "DURATION",
      defaultValue = "1m",
      description = "How long such a command may take (${DEFAULT-VALUE}).")
  private Duration commandTimeout = Duration.ZERO;

  @Option(
      names = "--peer-timeout",
      paramLabel = "DURATION",
      defaultValue = "15s",
      description = "How long the destination may be silent (${DEFAULT-VALUE}).")
  private Duration peerTimeout = Duration.ZERO;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write a report like QEMU's query-migrate; - is standard output.")
  private @Nullable String json;

  @Option(
      names = "--capture",
      paramLabel = "FILE",
      description = "Write what is sent into a file too, for 'pageflux inspect'.")
  private @Nullable Path capture;

  @Option(
      names = "--control",
      paramLabel = "unix:PATH",
      description = "Listen there for 'pageflux ctl' while the migration runs.")
  private @Nullable Endpoint control;

  /** Made with what it talks to. */
  public SendCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    requireSense();
    MigrationView view = new MigrationView(console, json);
    CommandGuest guest =
        new CommandGuest(onSwitchover, onFailure, commandTimeout).withThrottle(throttle());
    try {
      return send(view, guest);
    } catch (IOException | RuntimeException e) {
      CliException told = explain(e, guest);
      view.reportFailure(e, Failures.describe(told));
      throw told;
    }
  }

  private void requireSense() {
    limits.requireSense();
    codec.requireSense();
    convergence.requireSense();
    if (reconnect < 0) {
      throw new CliException(
          "--reconnect must be 0 or more, but it was " + reconnect, ExitCode.USAGE);
    }
    ControlServer.requirePath(control);
    Duration pause = pauseBeforeSwitchover;
    if (pause != null && control == null) {
      throw new CliException(
          "--pause-before-switchover needs --control, or nobody could continue the migration",
          ExitCode.USAGE);
    }
    if (pause != null && pause.isZero()) {
      throw new CliException("--pause-before-switchover must be more than 0", ExitCode.USAGE);
    }
    if (convergence.needsThrottle() && onThrottle == null && throttlePid == null) {
      throw new CliException(
          "--auto-converge needs --on-throttle or --throttle-pid: nothing else slows the writer down",
          ExitCode.USAGE);
    }
    if (onThrottle != null && throttlePid != null) {
      throw new CliException(
          "--on-throttle and --throttle-pid are two ways to throttle: give one of them",
          ExitCode.USAGE);
    }
    if (throttlePid != null) {
      ThrottledProcess.requireSensible(throttlePid);
    }
  }

  private CommandGuest.@Nullable Throttle throttle() {
    if (throttlePid != null) {
      return new ThrottledProcess(throttlePid);
    }
    return onThrottle == null ? null : new CommandThrottle(onThrottle, commandTimeout);
  }

  private int send(MigrationView view, CommandGuest guest) throws IOException {
    Path socket = ControlServer.requirePath(control);
    try (GuestMemory memory = GuestMemory.builder().file("ram", file).build();
        ControlServer server = ControlServer.listen(socket, controller)) {
      Mono<Void> stop = console.interruption().requests();
      OutgoingMigration migration = OutgoingMigration.of(spec(memory, guest));
      view.follow(
          server == null
              ? migration.events(stop)
              : server.tell(migration.events(stop, controller)));
      view.people().println("the guest is at the destination: do not let it go on here");
      return ExitCode.OK;
    }
  }

  private OutgoingSpec spec(GuestMemory memory, CommandGuest guest) {
    return OutgoingSpec.of(
            memory,
            guest,
            CapturingConnector.of(SocketTransport.connector(endpoint.spec()), capture))
        .withXbzrle(codec.xbzrle())
        .withCompression(codec.compression())
        .withMaxBandwidth(maxBandwidth == null ? 0 : maxBandwidth.bytesPerSecond())
        .withLimits(limits.limits())
        .withPolicy(convergence.policyOr(IntentPolicy.of(new Intent.ShortDowntime())))
        .withSwitchOverCost(convergence.switchOverCost())
        .withPeerTimeout(peerTimeout)
        .withPauseBeforeSwitchover(pauseBeforeSwitchover)
        // What is captured is one connection's stream.
        .withResume(reconnect == 0 || capture != null ? null : Reconnection.attempts(reconnect));
  }

  /** Adds to a failure what it means for the guest. */
  private CliException explain(Exception failure, CommandGuest guest) {
    String message = Failures.describe(failure);
    boolean interrupted =
        console.interruption().requested()
            && Failures.unwrap(failure) instanceof MigrationException e
            && e.kind() == MigrationException.Kind.CANCELLED;
    if (interrupted) {
      message = "interrupted: " + GOES_ON;
    } else if (controller.isCancelled()
        && Failures.unwrap(failure) instanceof MigrationException e
        && e.kind() == MigrationException.Kind.CANCELLED) {
      message = "cancelled by 'pageflux ctl': " + GOES_ON;
    }
    if (guest.resumeFailure() != null) {
      message +=
          "; but it does not go on: %s (the guest runs nowhere: let it go on at the source)"
              .formatted(guest.resumeFailure());
    } else if (guest.isPaused()) {
      message +=
          " (the guest stays paused at the source: it may run at the destination; let it go on only"
              + " if 'pageflux receive' says that it does not run there)";
      return new CliException(message, ExitCode.UNDECIDED);
    } else if (Failures.unwrap(failure) instanceof MigrationException
        && !message.contains(GOES_ON)) {
      message += " (" + GOES_ON + ")";
    }
    return new CliException(message, interrupted ? ExitCode.INTERRUPTED : ExitCode.FAILED);
  }
}
