package io.pageflux.examples.qemu;

import io.pageflux.MigrationException;
import io.pageflux.examples.cli.ByteRate;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.CodecOptions;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.ConvergenceOptions;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.examples.cli.LimitOptions;
import io.pageflux.examples.control.ControlServer;
import io.pageflux.examples.image.MigrationView;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.migration.OutgoingControl;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.qemu.migrate.QemuMigration;
import io.pageflux.qemu.migrate.QemuMigrationSpec;
import io.pageflux.qemu.qmp.QmpAddress;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpSpec;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import reactor.core.publisher.Mono;

/** {@code pageflux qemu-migrate}. */
@Command(
    name = "qemu-migrate",
    header = "Move a running guest from one QEMU to another on this host.",
    description = {
      "Both QEMUs are started with the same devices and with all memory in a file, each in one of its"
          + " own: '-object memory-backend-file,id=ram,share=on,size=SIZE,mem-path=FILE -machine"
          + " TYPE,memory-backend=ram'; the destination also with '-incoming defer'; and each with"
          + " '-qmp unix:PATH,server=on,wait=off'.",
      "The memory is copied from file to file while the guest runs. When the rest is short enough the"
          + " guest is stopped, QEMU itself moves its devices, and the guest goes on at the"
          + " destination. If anything fails before that, it goes on at the source. Afterwards the"
          + " source QEMU is in the state 'postmigrate', and is to be quit.",
      "If this command itself is killed while the memory is copied, the guest just goes on at the"
          + " source. If it is killed after it has stopped the guest, 'pageflux qmp ADDR query-status'"
          + " says whether the guest runs at the destination; if it does not, 'pageflux qmp ADDR quit'"
          + " ends the destination, and then 'pageflux qmp ADDR cont' lets the guest go on at the"
          + " source."
    })
public final class QemuMigrateCommand implements Callable<Integer> {

  private static final Duration QMP_PATIENCE = Duration.ofSeconds(10);

  private final Console console;
  private final OutgoingControl controller = new OutgoingControl();

  @Option(
      names = "--source-qmp",
      required = true,
      paramLabel = "ADDR",
      converter = AddressConverter.class,
      description = "The QMP socket of the QEMU that runs the guest: unix:PATH or HOST:PORT.")
  private QmpAddress source = new QmpAddress.Tcp("localhost", 1);

  @Option(
      names = "--destination-qmp",
      required = true,
      paramLabel = "ADDR",
      converter = AddressConverter.class,
      description = "The QMP socket of the QEMU that is to run it, started with -incoming defer.")
  private QmpAddress destination = new QmpAddress.Tcp("localhost", 1);

  @Option(
      names = "--source-memory",
      paramLabel = "FILE",
      description = "The file of the source's memory (QEMU is asked for it).")
  private @Nullable Path sourceMemory;

  @Option(
      names = "--destination-memory",
      paramLabel = "FILE",
      description = "The file of the destination's memory (QEMU is asked for it).")
  private @Nullable Path destinationMemory;

  @Option(
      names = "--socket-directory",
      paramLabel = "DIR",
      description =
          "Where sockets for the devices' state are made; both QEMUs must reach it (the system's"
              + " temporary directory).")
  private @Nullable Path socketDirectory;

  @Option(
      names = "--max-bandwidth",
      paramLabel = "RATE",
      description = "Copy no more than this per second (no limit).")
  private @Nullable ByteRate maxBandwidth;

  @Mixin private LimitOptions limits = new LimitOptions();

  @Mixin private CodecOptions codec = CodecOptions.plain();

  @Mixin private ConvergenceOptions convergence = new ConvergenceOptions();

  @Option(
      names = "--device-timeout",
      paramLabel = "DURATION",
      defaultValue = "30s",
      description = "How long QEMU may take to save or to load its devices (${DEFAULT-VALUE}).")
  private Duration deviceTimeout = Duration.ZERO;

  @Option(
      names = "--max-device-state",
      paramLabel = "SIZE",
      defaultValue = "64m",
      description = "The longest state of devices that is carried (${DEFAULT-VALUE}).")
  private ByteSize maxDeviceState = new ByteSize(0);

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write a report like QEMU's query-migrate; - is standard output.")
  private @Nullable String json;

  @Option(
      names = "--control",
      paramLabel = "unix:PATH",
      description = "Listen there for 'pageflux ctl' while the memory is copied.")
  private @Nullable Endpoint control;

  /** Made with what it talks to. */
  public QemuMigrateCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() {
    limits.requireSense();
    codec.requireSense();
    convergence.requireSense();
    Path socket = ControlServer.requirePath(control);
    MigrationView view = new MigrationView(console, json);
    try (ControlServer server = ControlServer.listen(socket, controller)) {
      QemuMigration migration = QemuMigration.of(spec());
      Mono<Void> stop = console.interruption().requests();
      view.follow(
          server == null
              ? migration.events(stop)
              : server.tell(migration.events(stop, controller)));
      view.people()
          .println(
              "the guest runs at %s; QEMU at %s is left in the state postmigrate"
                  .formatted(destination, source));
      return ExitCode.OK;
    } catch (RuntimeException e) {
      CliException told = explain(e, view.reached());
      view.reportFailure(e, Failures.describe(told));
      throw told;
    }
  }

  private QemuMigrationSpec spec() {
    return QemuMigrationSpec.of(QmpSpec.of(source), QmpSpec.of(destination))
        .withMemory(sourceMemory, destinationMemory)
        .withSocketDirectory(socketDirectory)
        .withDeviceLimits(
            (int) Math.min(maxDeviceState.bytes(), Integer.MAX_VALUE - 64), deviceTimeout)
        .withTuning(this::tune);
  }

  private OutgoingSpec tune(OutgoingSpec outgoing) {
    return outgoing
        .withXbzrle(codec.xbzrle())
        .withCompression(codec.compression())
        .withMaxBandwidth(maxBandwidth == null ? 0 : maxBandwidth.bytesPerSecond())
        .withLimits(limits.limits())
        .withPolicy(convergence.policyOr(outgoing.policy()))
        .withSwitchOverCost(convergence.switchOverCost());
  }

  /** Adds to a failure what it means for the guest: the source's QEMU knows. */
  private CliException explain(RuntimeException failure, MigrationStatus reached) {
    boolean cancelled =
        Failures.unwrap(failure) instanceof MigrationException e
            && e.kind() == MigrationException.Kind.CANCELLED;
    boolean interrupted = cancelled && console.interruption().requested();
    String message =
        interrupted
            ? "interrupted"
            : cancelled && controller.isCancelled()
                ? "cancelled by 'pageflux ctl'"
                : Failures.describe(failure);
    if (reached == MigrationStatus.SETUP || reached == MigrationStatus.ACTIVE || runsAtSource()) {
      return new CliException(
          reached == MigrationStatus.SETUP && !interrupted
              ? message
              : message + ": the guest goes on at the source",
          interrupted ? ExitCode.INTERRUPTED : ExitCode.FAILED);
    }
    return new CliException(
        ("%s (the guest is paused at the source: it may run at the destination; 'pageflux qmp %s"
                + " query-status' says whether it does; if not, 'pageflux qmp %s quit', and then"
                + " 'pageflux qmp %s cont')")
            .formatted(message, destination, destination, source),
        ExitCode.UNDECIDED);
  }

  private boolean runsAtSource() {
    return Boolean.TRUE.equals(
        Mono.usingWhen(
                QmpClient.connect(QmpSpec.of(source)),
                client -> client.commands().isRunning(),
                QmpClient::close)
            .onErrorReturn(false)
            .block(QMP_PATIENCE.multipliedBy(3)));
  }

  /** Reads the address of a QMP socket. */
  static final class AddressConverter implements ITypeConverter<QmpAddress> {
    @Override
    public QmpAddress convert(String value) {
      return QmpAddress.parse(value);
    }
  }
}
