package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.migration.IncomingMigration;
import io.pageflux.migration.IncomingSpec;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.OutgoingControl;
import io.pageflux.migration.OutgoingMigration;
import io.pageflux.migration.OutgoingSpec;
import io.pageflux.migration.ProcessThrottle;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.InMemoryTransport;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Schedulers;

/**
 * One migration from QEMU to QEMU: everything is looked at and mapped first, then moved, then put
 * away in the opposite order, whatever has been made by then.
 */
final class QemuMove {

  private static final Duration END_TIMEOUT = Duration.ofSeconds(10);

  private final QemuMigrationSpec spec;
  private final Mono<Void> stop;
  private final @Nullable OutgoingControl control;
  private final Sinks.Empty<Void> incomingStop = Sinks.empty();
  private final Sinks.Empty<Void> incomingEnded = Sinks.empty();

  // Made one after the other, and put away after all of that has ended.
  private volatile @Nullable QemuMonitor source;
  private volatile @Nullable QemuMonitor destination;
  private volatile @Nullable GuestMemory sourceMemory;
  private volatile @Nullable GuestMemory destinationMemory;
  private volatile @Nullable DeviceStateSocket socket;
  private volatile @Nullable QemuSettings sourceSettings;
  private volatile @Nullable QemuSettings destinationSettings;
  private volatile List<QemuRam> sourceRam = List.of();
  private volatile @Nullable ProcessThrottle throttle;
  private volatile @Nullable InMemoryTransport transport;
  private volatile @Nullable Connection line;

  QemuMove(QemuMigrationSpec spec, Mono<Void> stop, @Nullable OutgoingControl control) {
    this.spec = spec;
    this.control = control;
    this.stop = stop;
  }

  Flux<MigrationEvent> run() {
    return QemuMonitor.connect(spec.source())
        .doOnNext(connected -> source = connected)
        .zipWhen(
            from -> QemuMonitor.connect(spec.destination()).doOnNext(made -> destination = made))
        .flatMapMany(both -> run(both.getT1(), both.getT2()));
  }

  private Flux<MigrationEvent> run(QemuMonitor from, QemuMonitor to) {
    return QemuSource.requireMigratable(from)
        .flatMap(running -> QemuDestination.requireWaiting(to).thenReturn(running))
        .flatMapMany(
            running ->
                map(from, to)
                    .then(
                        QemuSettings.of(
                            from, Set.of(QemuSettings.EVENTS, QemuSettings.IGNORE_SHARED)))
                    .doOnNext(looked -> sourceSettings = looked)
                    .then(
                        QemuSettings.of(
                            to,
                            Set.of(
                                QemuSettings.EVENTS,
                                QemuSettings.IGNORE_SHARED,
                                QemuSettings.LATE_BLOCK_ACTIVATE)))
                    .doOnNext(looked -> destinationSettings = looked)
                    .then(Mono.defer(() -> QemuThrottle.of(from, sourceRam)))
                    .doOnNext(found -> throttle = found)
                    .thenMany(Flux.defer(() -> move(from, to, running))));
  }

  private Mono<Void> map(QemuMonitor from, QemuMonitor to) {
    return Mono.zip(
            from.client().flatMap(client -> QemuRam.of(client, spec.sourceMemory())),
            to.client().flatMap(client -> QemuRam.of(client, spec.destinationMemory())))
        .publishOn(Schedulers.boundedElastic())
        .doOnNext(ram -> map(from.name(), ram.getT1(), to.name(), ram.getT2()))
        .then();
  }

  private void map(String from, List<QemuRam> sourceRam, String to, List<QemuRam> destinationRam) {
    QemuRam.requireAlike(from, sourceRam, to, destinationRam);
    sourceMemory = QemuRam.map(from, sourceRam);
    this.sourceRam = sourceRam;
    destinationMemory = QemuRam.map(to, destinationRam);
    try {
      socket = DeviceStateSocket.in(spec.socketDirectory());
    } catch (IOException e) {
      throw MigrationException.of(
          Kind.GUEST, "no directory can be made for sockets: " + e.getMessage(), e);
    }
  }

  private Flux<MigrationEvent> move(QemuMonitor from, QemuMonitor to, boolean running) {
    DeviceStateSocket devices = made(socket);
    InMemoryTransport memory = InMemoryTransport.create();
    transport = memory;
    Mono<Void> settings = made(destinationSettings).apply().then(made(sourceSettings).apply());
    QemuSource sourceGuest = new QemuSource(from, devices, spec, running, settings, throttle);
    QemuDestination destinationGuest =
        new QemuDestination(to, devices, spec, running, this::breakLine);
    IncomingSpec incoming =
        IncomingSpec.of(made(destinationMemory), destinationGuest, memory.acceptor())
            .withMaxDeviceStateBytes(spec.maxDeviceStateBytes());
    Connector connector =
        () -> Mono.<Connection>from(memory.connector().connect()).doOnNext(made -> line = made);
    OutgoingSpec outgoing =
        spec.tuning()
            .apply(
                OutgoingSpec.of(made(sourceMemory), sourceGuest, connector)
                    .withCompression(null)
                    .withXbzrle(null));
    IncomingMigration.of(incoming)
        .events(incomingStop.asMono())
        .then()
        .onErrorComplete() // The source has been told.
        .doFinally(signal -> incomingEnded.tryEmitEmpty())
        .subscribe();
    OutgoingMigration migration = OutgoingMigration.of(outgoing);
    Mono<Void> stopped = stopped(to, destinationGuest);
    return control == null ? migration.events(stopped) : migration.events(stopped, control);
  }

  /** Stops when told to, and fails when the destination is gone and not just being started. */
  private Mono<Void> stopped(QemuMonitor to, QemuDestination guest) {
    Mono<Void> lost =
        to.lost().onErrorResume(e -> guest.isStarting() ? Mono.never() : Mono.error(e));
    return Mono.firstWithSignal(stop, lost);
  }

  private void breakLine() {
    Connection made = line;
    if (made != null) {
      made.dispose();
    }
  }

  private static <T> T made(@Nullable T thing) {
    if (thing == null) {
      throw new IllegalStateException("made before");
    }
    return thing;
  }

  /** Puts everything away. What fails here fails nothing else. */
  Mono<Void> close() {
    return Mono.defer(
        () -> {
          InMemoryTransport used = transport;
          Mono<Void> quiet = Mono.empty();
          if (used != null) {
            incomingStop.tryEmitEmpty();
            used.acceptor().dispose();
            quiet = incomingEnded.asMono().timeout(END_TIMEOUT).onErrorComplete();
          }
          return quiet
              .then(restore(sourceSettings))
              .then(restore(destinationSettings))
              .publishOn(Schedulers.boundedElastic())
              .then(Mono.<Void>fromRunnable(this::unmap))
              .onErrorComplete()
              .then(hangUp(source))
              .then(hangUp(destination));
        });
  }

  private static Mono<Void> restore(@Nullable QemuSettings settings) {
    return settings == null ? Mono.empty() : settings.restore().onErrorComplete();
  }

  private static Mono<Void> hangUp(@Nullable QemuMonitor qemu) {
    return qemu == null ? Mono.empty() : qemu.close().onErrorComplete();
  }

  private void unmap() {
    for (AutoCloseable one :
        new @Nullable AutoCloseable[] {sourceMemory, destinationMemory, socket}) {
      try {
        if (one != null) {
          one.close();
        }
      } catch (Exception e) {
        // A file that stays behind must not hide how the migration ended.
      }
    }
  }
}
