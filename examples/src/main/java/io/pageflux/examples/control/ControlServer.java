package io.pageflux.examples.control;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.examples.cli.CliException;
import io.pageflux.examples.cli.Endpoint;
import io.pageflux.examples.cli.ExitCode;
import io.pageflux.examples.cli.Failures;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.OutgoingControl;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.transport.tcp.UnixAcceptor;
import io.pageflux.transport.tcp.UnixSpec;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;

/**
 * A Unix domain socket at which a running migration is controlled, by a protocol like QMP's: a
 * greeting, then a command on a line, and an answer on a line for each, in their order. Who asks
 * for events gets those too, in between.
 *
 * <p>The socket's file is its owner's only. Up to {@value #MAX_CONTROLLERS} controllers may be
 * connected; each has its commands executed in order, and commands of several that change something
 * are executed one after the other, so that each gets the answer to what became of its own.
 *
 * <p><b>Demand:</b> a controller that does not read its answers is not listened to meanwhile; one
 * that does not read its events, of which {@value #EVENT_QUEUE} wait for it, is cut off.
 *
 * <p><b>Memory bound:</b> a line of {@link Lines#MAX_LINE_BYTES}, one read and the queue of events
 * for each controller.
 */
public final class ControlServer implements AutoCloseable {

  static final int MAX_CONTROLLERS = 16;
  private static final int EVENT_QUEUE = 1024;
  private static final int READ_BYTES = 4 << 10;

  /** How long the last events may take to be read. */
  private static final Duration LAST_WORD = Duration.ofSeconds(1);

  private final ControlCommands commands;
  private final UnixAcceptor acceptor;
  private final Disposable accepting;
  private final Set<Controller> controllers = ConcurrentHashMap.newKeySet();
  private final Sinks.Many<ObjectNode> events = Sinks.many().multicast().directBestEffort();
  private final Sinks.Empty<Void> closing = Sinks.empty();

  private ControlServer(OutgoingControl control, UnixAcceptor acceptor) {
    this.commands = new ControlCommands(control);
    this.acceptor = acceptor;
    this.accepting =
        acceptor
            .accept()
            .repeat()
            .subscribe(this::accepted, e -> {}); // which is that the acceptor was closed
  }

  /**
   * {@return the path that {@code --control} names; null if it is not given}
   *
   * @throws CliException if it is no Unix domain socket
   */
  public static @Nullable Path requirePath(@Nullable Endpoint control) {
    if (control != null && !(control instanceof Endpoint.Unix)) {
      throw new CliException(
          "--control is unix:PATH: only who may use that file is to have control", ExitCode.USAGE);
    }
    return control instanceof Endpoint.Unix unix ? unix.path() : null;
  }

  /**
   * Listens.
   *
   * @param path of the socket; null for none, and null is returned
   * @throws CliException if one cannot listen there
   */
  public static @Nullable ControlServer listen(@Nullable Path path, OutgoingControl control) {
    if (path == null) {
      return null;
    }
    try {
      UnixSpec spec = UnixSpec.of(path).withEventLoops(1).withReadBytes(READ_BYTES);
      return new ControlServer(control, Objects.requireNonNull(UnixAcceptor.bind(spec).block()));
    } catch (RuntimeException e) {
      throw new CliException("--control: " + Failures.describe(e), e);
    }
  }

  /** {@return a migration's events, which are told to who follows as they come} */
  public Flux<MigrationEvent> tell(Flux<MigrationEvent> migration) {
    return migration.doOnNext(
        event -> EventJson.of(event, Instant.now()).ifPresent(events::tryEmitNext));
  }

  private void accepted(Connection connection) {
    Controller controller = new Controller(connection);
    if (controllers.size() >= MAX_CONTROLLERS) {
      controller.refuse();
      return;
    }
    controllers.add(controller);
    controller.serve();
  }

  /** Somebody at the other end of a connection. */
  private final class Controller {

    private final Connection connection;
    private final Lines lines = new Lines();
    private final AtomicBoolean following = new AtomicBoolean();
    private final Sinks.One<Boolean> follow = Sinks.one();

    Controller(Connection connection) {
      this.connection = connection;
    }

    void refuse() {
      connection
          .send(
              Flux.just(
                  buffer(
                      ControlCommands.error(
                          "GenericError",
                          "there are %d controllers already; try again later"
                              .formatted(MAX_CONTROLLERS)))))
          .onErrorComplete()
          .doFinally(signal -> connection.dispose())
          .subscribe();
    }

    void serve() {
      Flux<ObjectNode> answers =
          connection
              .receive()
              .concatMapIterable(this::lines, 1)
              .publishOn(Schedulers.boundedElastic(), 1)
              .map(this::answer)
              .takeUntil(answer -> lines.isTooLong() && answer == TOO_LONG)
              .doOnDiscard(TransportBuffer.class, TransportBuffer::release)
              .startWith(ControlCommands.greeting())
              .takeUntilOther(closing.asMono())
              .doFinally(signal -> follow.tryEmitEmpty());
      connection
          .send(Flux.merge(1, answers, followed()).map(ControlServer::buffer))
          .onErrorComplete()
          .doFinally(
              signal -> {
                controllers.remove(this);
                connection.dispose();
              })
          .subscribe();
    }

    private Flux<ObjectNode> followed() {
      return follow
          .asMono()
          .flatMapMany(
              asked ->
                  // The status as it is comes once who asked misses nothing any more.
                  Flux.merge(
                      events.asFlux().onBackpressureBuffer(EVENT_QUEUE),
                      Mono.fromSupplier(commands::status)));
    }

    private Iterable<String> lines(TransportBuffer buffer) {
      try {
        var complete = new ArrayList<>(lines.take(buffer));
        if (lines.isTooLong()) {
          complete.add("");
        }
        return complete;
      } finally {
        buffer.release();
      }
    }

    private ObjectNode answer(String line) {
      return line.isEmpty() ? TOO_LONG : commands.answer(line, this::follow);
    }

    private void follow() {
      if (following.compareAndSet(false, true)) {
        follow.tryEmitValue(true);
      }
    }
  }

  private static final ObjectNode TOO_LONG =
      ControlCommands.error(
          "GenericError", "a command is %d bytes at the most".formatted(Lines.MAX_LINE_BYTES));

  private static TransportBuffer buffer(ObjectNode json) {
    return TransportBuffer.of(ByteBuffer.wrap((json + "\n").getBytes(StandardCharsets.UTF_8)));
  }

  /** Ends all connections, when what was to be said has been, and removes the socket's file. */
  @Override
  public void close() {
    accepting.dispose();
    acceptor.dispose();
    events.tryEmitComplete();
    Flux.fromIterable(controllers)
        .flatMap(controller -> controller.connection.onDispose().onErrorComplete())
        .then()
        .timeout(LAST_WORD, Mono.empty())
        .doFirst(closing::tryEmitEmpty)
        .block();
    controllers.forEach(controller -> controller.connection.dispose());
  }
}
