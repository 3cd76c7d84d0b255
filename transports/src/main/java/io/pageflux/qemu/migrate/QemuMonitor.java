package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.qemu.qmp.QmpClient;
import io.pageflux.qemu.qmp.QmpCommands;
import io.pageflux.qemu.qmp.QmpError;
import io.pageflux.qemu.qmp.QmpSpec;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A QEMU under our control for the time of a migration. If the QMP connection is lost, the next
 * command makes another one: a guest that is paused must be let go on, and one that was started
 * must be found out about. Commands that find it lost at the same time share the next one: QEMU
 * serves one at a time, and nobody would close another.
 */
final class QemuMonitor {

  private final QmpSpec spec;
  private final QmpClient first;
  private volatile QmpClient current;
  private @Nullable Mono<QmpClient> next; // guarded by this, as what follows
  private boolean closed;

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
    return Mono.defer(() -> current.isOpen() ? Mono.just(current) : next());
  }

  private synchronized Mono<QmpClient> next() {
    Mono<QmpClient> connecting = next;
    if (connecting == null) {
      // Whoever does not wait for it any more does not cancel it: there may be others.
      connecting = QmpClient.connect(spec).doOnNext(this::take).doFinally(s -> forget()).cache();
      next = connecting;
    }
    return connecting;
  }

  private synchronized void forget() {
    next = null;
  }

  private synchronized void take(QmpClient client) {
    current = client;
    if (closed) { // it has come too late
      client.close().subscribe(v -> {}, e -> {});
    }
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

  /** Closes the connection that there is by then, and one that is being made when it is there. */
  Mono<Void> close() {
    return Mono.defer(
        () -> {
          synchronized (this) {
            closed = true;
          }
          return Mono.when(first.close(), current.close());
        });
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
