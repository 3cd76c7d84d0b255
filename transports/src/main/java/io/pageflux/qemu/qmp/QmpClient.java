package io.pageflux.qemu.qmp;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import java.time.Duration;
import java.util.Map;
import reactor.core.Exceptions;
import reactor.core.publisher.BufferOverflowStrategy;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A connection to QEMU's machine protocol: commands, each answered once, and events.
 *
 * <p><b>Threading:</b> may be used from any thread. Answers and events come on the connection's own
 * thread, {@code pageflux-qmp-*}, which must not be blocked: go elsewhere with {@code publishOn} to
 * do so. The thread ends with the connection.
 *
 * <p><b>Memory bound:</b> one line of the server ({@link QmpSpec#maxLineBytes()}, some times that
 * while it is parsed), 1,024 commands without answer, and {@value #EVENT_QUEUE} events for each
 * subscriber of events.
 *
 * <p><b>Errors:</b> a {@link MigrationException}: {@code GUEST} with a {@link QmpError} as its
 * cause if QEMU refused a command; {@code TIMEOUT} if it did not answer in time; {@code TRANSPORT}
 * if the connection was lost, {@code PROTOCOL} if what came over it is not QMP. The last two end
 * the connection: all commands fail with them, those that wait and those to come.
 */
public final class QmpClient {

  /** Events that may wait for a subscriber that is slow. */
  static final int EVENT_QUEUE = 1024;

  private final QmpSpec spec;
  private final QmpSession session;
  private final JsonNode greeting;

  QmpClient(QmpSpec spec, QmpSession session, ObjectNode greeting) {
    this.spec = spec;
    this.session = session;
    this.greeting = greeting;
  }

  /**
   * Connects, waits for the greeting, and negotiates.
   *
   * <p>Cold: each subscription makes a connection of its own, which whoever gets it is to
   * {@linkplain #close() close}; cancelling before that closes it. QEMU serves one client at a time
   * on a socket; the next one waits for the greeting, and fails with {@code TIMEOUT}.
   */
  public static Mono<QmpClient> connect(QmpSpec spec) {
    return QmpConnector.connect(spec);
  }

  /** {@return where this is connected to, and how} */
  public QmpSpec spec() {
    return spec;
  }

  /** {@return QEMU's version, as {@code 7.2.22}} */
  public String qemuVersion() {
    JsonNode version = greeting.path("QMP").path("version").path("qemu");
    return "%d.%d.%d"
        .formatted(
            version.path("major").asInt(),
            version.path("minor").asInt(),
            version.path("micro").asInt());
  }

  /** {@return the typed commands, as far as migration needs them} */
  public QmpCommands commands() {
    return new QmpCommands(this);
  }

  /** Executes a command without arguments. As {@link #execute(String, Map, Duration)}. */
  public Mono<JsonNode> execute(String command) {
    return execute(command, Map.of());
  }

  /** Executes a command in the spec's time. As {@link #execute(String, Map, Duration)}. */
  public Mono<JsonNode> execute(String command, Map<String, ?> arguments) {
    return execute(command, arguments, spec.timeout());
  }

  /**
   * Executes a command.
   *
   * <p>Cold: each subscription sends it again. Commands are executed in the order of subscription.
   * Cancelling, and the end of the timeout, only end the waiting: QEMU executes what it has got.
   *
   * @param arguments values are strings, numbers, booleans, and lists and maps of them
   * @return what QEMU returned, an empty object where it has nothing to say
   */
  public Mono<JsonNode> execute(String command, Map<String, ?> arguments, Duration timeout) {
    if (timeout.isNegative() || timeout.isZero()) {
      throw new IllegalArgumentException("timeout > 0 required but it was " + timeout);
    }
    return session.execute(command, Map.copyOf(arguments), timeout.toNanos());
  }

  /**
   * {@return the events from now on; hot}
   *
   * <p>A subscriber gets every event that comes after it has subscribed, in order. It may be slow:
   * {@value #EVENT_QUEUE} events wait for it, and with one more it fails, rather than to miss one.
   * Ends when the connection does: completes if it was closed on this side, else with the reason.
   * Cancelling drops what waits.
   */
  public Flux<QmpEvent> events() {
    return session
        .events()
        .onBackpressureBuffer(EVENT_QUEUE, BufferOverflowStrategy.ERROR)
        .onErrorMap(
            Exceptions::isOverflow,
            e ->
                MigrationException.of(
                    Kind.INTERNAL,
                    "%d events of QEMU at %s waited for a subscriber that did not ask for them"
                        .formatted(EVENT_QUEUE, spec.address()),
                    e));
  }

  /**
   * Closes the connection: commands that wait fail with kind {@code CANCELLED}, events complete.
   *
   * @return closes when it is subscribed to, as often as one likes; completes when it is done
   */
  public Mono<Void> close() {
    return Mono.defer(
        () -> {
          session.close();
          return onClose();
        });
  }

  /** {@return whether the connection has not ended yet} */
  public boolean isOpen() {
    return session.isOpen();
  }

  /** {@return completes when the connection has ended, for whatever reason} */
  public Mono<Void> onClose() {
    return session.ended();
  }

  @Override
  public String toString() {
    return "QmpClient[QEMU " + qemuVersion() + " at " + spec.address() + "]";
  }
}
