package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.migration.Guest;
import io.pageflux.qemu.qmp.QmpCommands;
import java.io.IOException;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** The guest in the QEMU that waits for it. */
final class QemuDestination implements Guest {

  private final QemuMonitor qemu;
  private final DeviceStateSocket socket;
  private final QemuMigrationSpec spec;
  private final boolean running;
  private final Runnable undecided;
  private volatile boolean starting;

  /**
   * Makes one of a QEMU.
   *
   * @param running whether the guest is to run
   * @param undecided called if it cannot be found out whether the guest runs here: the source must
   *     not be told anything then
   */
  QemuDestination(
      QemuMonitor qemu,
      DeviceStateSocket socket,
      QemuMigrationSpec spec,
      boolean running,
      Runnable undecided) {
    this.qemu = qemu;
    this.socket = socket;
    this.spec = spec;
    this.running = running;
    this.undecided = undecided;
  }

  /** {@return whether the guest is being started, or was} */
  boolean isStarting() {
    return starting;
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return pieces
        .collectList()
        .flatMap(
            state ->
                qemu.run(
                    commands ->
                        commands
                            .migrateIncoming(socket.inletUri())
                            // If QEMU does not take all of it, its own status says why.
                            .then(socket.write(state).onErrorComplete(IOException.class))
                            .then(commands.awaitMigration(spec.deviceTimeout()))
                            .then(commands.isRunning())))
        // From the beginning on: a QEMU that is frozen does not read what is written to it.
        .timeout(spec.deviceTimeout(), Mono.error(this::tookTooLong))
        .onErrorMap(this::asRefusal)
        .flatMap(
            runs ->
                runs
                    ? qemu.run(QmpCommands::stop)
                        .then(
                            Mono.error(
                                MigrationException.of(
                                    Kind.GUEST,
                                    qemu.name() + " started the guest before it was told to")))
                    : Mono.empty());
  }

  private MigrationException tookTooLong() {
    return MigrationException.of(
        Kind.TIMEOUT,
        "%s did not take the devices' state within %.1f s"
            .formatted(qemu.name(), spec.deviceTimeout().toMillis() / 1000.0));
  }

  private Throwable asRefusal(Throwable e) {
    // QEMU ends when it cannot load, and says why on its standard error only.
    return QemuMonitor.isOfKind(e, Kind.TRANSPORT)
        ? MigrationException.of(
            Kind.GUEST,
            ("%s ended while it loaded the devices' state: see what it has written to its standard"
                    + " error; it must be the same machine with the same devices")
                .formatted(qemu.name()),
            e)
        : e;
  }

  @Override
  public Mono<Void> resume() {
    return Mono.defer(
        () -> {
          starting = true;
          return running
              ? qemu.run(QmpCommands::cont)
                  .onErrorResume(e -> QemuMonitor.isRefusal(e) ? Mono.error(e) : findOutWhether(e))
              : Mono.empty();
        });
  }

  /**
   * The order to run was given, and no answer came. A QEMU that answers again says whether it has
   * followed it; one that nobody listens for has ended; and of any other nothing can be known.
   */
  private Mono<Void> findOutWhether(Throwable noAnswer) {
    return qemu.run(QmpCommands::isRunning)
        .retry(1)
        .onErrorResume(
            e -> {
              if (QemuMonitor.isOfKind(e, Kind.TRANSPORT)) {
                return Mono.just(false);
              }
              undecided.run();
              return Mono.never();
            })
        .flatMap(runs -> runs ? Mono.empty() : Mono.error(noAnswer));
  }

  @Override
  public Mono<Void> pause() {
    return qemu.run(QmpCommands::stop);
  }

  /** Checks that a QEMU waits for a guest. */
  static Mono<Void> requireWaiting(QemuMonitor qemu) {
    return qemu.run(
        commands ->
            commands
                .queryStatus()
                .zipWith(commands.queryMigrate())
                .flatMap(
                    both ->
                        both.getT1().equals("inmigrate") && both.getT2().status().equals("none")
                            ? Mono.empty()
                            : Mono.error(
                                MigrationException.of(
                                    Kind.GUEST,
                                    ("%s cannot be the destination: it is in the state %s, its"
                                            + " migration %s; start it with the options of the"
                                            + " source and -incoming defer")
                                        .formatted(
                                            qemu.name(), both.getT1(), both.getT2().status())))));
  }
}
