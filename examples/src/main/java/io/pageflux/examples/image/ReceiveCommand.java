package io.pageflux.examples.image;

import io.pageflux.MigrationException;
import io.pageflux.examples.cli.ByteSize;
import io.pageflux.examples.cli.Bytes;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Console;
import io.pageflux.examples.cli.Durations;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.Guest;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationStatus;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.transport.tcp.SocketTransport;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import reactor.core.publisher.Mono;

/** {@code pageflux receive}. */
@Command(
    name = "receive",
    header = "Receive a memory image from 'pageflux send'.",
    description = {
      "Waits for one source, receives the image into a file, and exits when the file is equal to the"
          + " source's byte for byte. A file that was made for a migration that then failed is"
          + " removed, unless --reconnect or --reuse was given: another 'receive --reuse' has only the"
          + " rest sent, also by a 'send' that was started anew. One that existed before is no image of"
          + " anything then."
    })
public final class ReceiveCommand implements Callable<Integer> {

  private static final String DOES_NOT_RUN =
      "the guest does not run here and must not be started here";

  private final Console console;

  @Option(
      names = "--listen",
      required = true,
      paramLabel = "ENDPOINT",
      description = "Where to wait: HOST:PORT, unix:PATH, or PORT, reachable from this host only.")
  private Endpoint endpoint = Endpoint.ANY_PORT;

  @Option(
      names = "--memory",
      required = true,
      paramLabel = "FILE",
      description = "Where the image goes: made if missing, else overwritten.")
  private Path file = Path.of("");

  @Option(
      names = "--size",
      required = true,
      paramLabel = "SIZE",
      description = "The image's size, a multiple of 4096 bytes.")
  private ByteSize size = new ByteSize(0);

  @Option(
      names = "--workers",
      paramLabel = "N",
      defaultValue = "2",
      description = "How many threads decompress (${DEFAULT-VALUE}).")
  private int workers;

  @Option(
      names = "--timeout",
      paramLabel = "DURATION",
      description = "How long to wait for a source (for ever).")
  private @Nullable Duration timeout;

  @Option(
      names = "--peer-timeout",
      paramLabel = "DURATION",
      defaultValue = "15s",
      description = "How long the source may be silent (${DEFAULT-VALUE}).")
  private Duration peerTimeout = Duration.ZERO;

  @Option(
      names = "--reconnect",
      paramLabel = "DURATION",
      defaultValue = "0s",
      description =
          "How long a source whose connection was lost is awaited; what has arrived is kept"
              + " meanwhile, and not sent again (${DEFAULT-VALUE}: not at all). Another 'send' is turned"
              + " away meanwhile.")
  private Duration reconnect = Duration.ZERO;

  @Option(
      names = "--reuse",
      description =
          "The file holds an older copy of the image: only pages that differ are sent, by their"
              + " hashes.")
  private boolean reuse;

  @Option(
      names = "--json",
      paramLabel = "FILE",
      description = "Write a report like QEMU's query-migrate; - is standard output.")
  private @Nullable String json;

  /** Made with what it talks to. */
  public ReceiveCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    MigrationView view = new MigrationView(console, json);
    try {
      return receive(view);
    } catch (IOException | RuntimeException e) {
      CliException told = explain(e, view.reached());
      view.reportFailure(e, Failures.describe(told));
      throw told;
    }
  }

  private int receive(MigrationView view) throws IOException {
    // First the address, then the file: nothing is made for a port that is in use.
    Acceptor acceptor = Objects.requireNonNull(SocketTransport.listen(endpoint.spec()).block());
    try {
      boolean existed = Files.exists(file);
      boolean complete = false;
      try (GuestMemory memory = GuestMemory.builder().file("ram", file, size.bytes()).build()) {
        view.people()
            .println(
                "listening on %s for %s".formatted(acceptor.address(), Bytes.text(size.bytes())));
        IncomingSpec spec =
            IncomingSpec.of(memory, Guest.passive(), patient(acceptor))
                .withWorkers(workers)
                .withPeerTimeout(peerTimeout)
                .withResume(reconnect.isZero() ? null : reconnect)
                .withReuse(reuse && existed);
        view.follow(IncomingMigration.of(spec).events(console.interruption().requests()));
        complete = true;
        view.people().println("the guest is here: it may run here, and nowhere else");
        return ExitCode.OK;
      } finally {
        if (!existed && !complete && !isKept(view.reached())) {
          Files.deleteIfExists(file);
        }
      }
    } finally {
      acceptor.dispose();
    }
  }

  /** Whether what has arrived is kept if the migration fails. */
  private boolean isKept(MigrationStatus reached) {
    return reached != MigrationStatus.SETUP && (reuse || !reconnect.isZero());
  }

  private String kept(MigrationStatus reached) {
    return isKept(reached)
        ? "; what has arrived is kept in %s: 'receive --reuse' has only the rest sent"
            .formatted(file)
        : "";
  }

  /** An acceptor that gives up when nobody comes. */
  private Acceptor patient(Acceptor acceptor) {
    Duration patience = timeout;
    if (patience == null) {
      return acceptor;
    }
    return new Acceptor() {
      @Override
      public Mono<? extends Connection> accept() {
        return Mono.<Connection>from(acceptor.accept())
            .timeout(
                patience,
                Mono.error(
                    () ->
                        MigrationException.of(
                            MigrationException.Kind.TIMEOUT,
                            "no source has connected to %s within %s"
                                .formatted(address(), Durations.text(patience)))));
      }

      @Override
      public String address() {
        return acceptor.address();
      }

      @Override
      public void dispose() {
        acceptor.dispose();
      }
    };
  }

  private CliException explain(Exception failure, MigrationStatus reached) {
    if (console.interruption().requested()
        && Failures.unwrap(failure) instanceof MigrationException e
        && e.kind() == MigrationException.Kind.CANCELLED) {
      return new CliException(
          reached == MigrationStatus.SETUP
              ? "interrupted while waiting for a source"
              : "interrupted: " + DOES_NOT_RUN + kept(reached),
          ExitCode.INTERRUPTED);
    }
    String message = Failures.describe(failure);
    if (message.contains("it may run here")) {
      return new CliException(message, ExitCode.UNDECIDED);
    }
    boolean begun = reached != MigrationStatus.SETUP;
    return new CliException(
        begun && Failures.unwrap(failure) instanceof MigrationException
            ? message + " (" + DOES_NOT_RUN + ")" + kept(reached)
            : message,
        failure);
  }
}
