package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpCommands;
import io.pageflux.qemu.qmp.QmpError;
import io.pageflux.qemu.qmp.QmpSpec;
import java.util.function.Function;
import reactor.core.publisher.Mono;

/**
 * A QEMU under our control for the time of a migration. If the QMP connection is lost, the next
 * command makes another one: a guest that is paused must be let go on, and one that was started
 * must be found out about.
 */
final class QemuMonitor {

  private final QmpSpec spec;
  private final QmpClient first;
  private volatile QmpClient current;

  private QemuMonitor(QmpSpec spec, QmpClient client) {
    this.spec = spec;
    this.first = client;
    this.current = client;
  }

  static Mono<QemuMonitor> connect(QmpSpec spec) {
    return QmpClient.connect(spec).map(client -> new QemuMonitor(spec, client));
  }

  /** {@return where it is, for messages} */
  String name() {
    return "QEMU at " + spec.address();
  }

  /** {@return a connection that is open as far as one can know} */
  Mono<QmpClient> client() {
    return Mono.defer(
        () ->
            current.isOpen()
                ? Mono.just(current)
                : QmpClient.connect(spec).doOnNext(client -> current = client));
  }

  <T> Mono<T> run(Function<QmpCommands, Mono<T>> command) {
    return client().flatMap(client -> command.apply(client.commands()));
  }

  /** {@return fails when the connection is lost that was made first} */
  Mono<Void> lost() {
    return first
        .onClose()
        .then(
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.TRANSPORT,
                        name()
                            + " has ended, or closed its QMP connection; its own log may say why")));
  }

  /** Closes the connection that there is by then. */
  Mono<Void> close() {
    return Mono.defer(() -> Mono.when(first.close(), current.close()));
  }

  /** {@return whether a failure is a migration's, of a kind} */
  static boolean isOfKind(Throwable failure, Kind kind) {
    return failure instanceof MigrationException known && known.kind() == kind;
  }

  /** {@return whether QEMU itself refused a command, so that it is known not to be done} */
  static boolean isRefusal(Throwable failure) {
    return failure.getCause() instanceof QmpError;
  }
}
