package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.migration.Guest;
import io.pageflux.migration.ProcessThrottle;
import io.pageflux.qemu.qmp.MigrateStatus;
import io.pageflux.qemu.qmp.QmpCommands;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.util.retry.Retry;

/**
 * The guest in the QEMU that runs it.
 *
 * <p>Its devices' state is taken as part of its pause, and not when it is asked for: what QEMU may
 * write to the memory while it saves its devices is sent with the last round then.
 */
final class QemuSource implements Guest {

  /**
   * How often QEMU is asked whether it has finished with a migration, of which it does not tell.
   */
  private static final Duration POLL = Duration.ofMillis(5);

  /** How often a lost connection is made again: within about half a second. */
  private static final int RECONNECTIONS = 4;

  private static final Duration RECONNECTION_PAUSE = Duration.ofMillis(30);

  private final QemuMonitor qemu;
  private final DeviceStateSocket socket;
  private final QemuMigrationSpec spec;
  private final boolean running;
  private final Mono<Void> settings;
  private final @Nullable ProcessThrottle throttle;
  private volatile byte @Nullable [] state;

  /**
   * Makes one of a QEMU.
   *
   * @param running whether the guest runs; one that does not is never let run
   * @param settings makes both QEMUs ready to move the devices; done before the guest is stopped
   * @param throttle a means to throttle it; null if there is none
   */
  QemuSource(
      QemuMonitor qemu,
      DeviceStateSocket socket,
      QemuMigrationSpec spec,
      boolean running,
      Mono<Void> settings,
      @Nullable ProcessThrottle throttle) {
    this.settings = settings;
    this.throttle = throttle;
    this.qemu = qemu;
    this.socket = socket;
    this.spec = spec;
    this.running = running;
  }

  @Override
  public boolean canThrottle() {
    return throttle != null && running;
  }

  @Override
  public Mono<Void> throttle(int percent) {
    ProcessThrottle means = throttle;
    return means == null
        ? Guest.super.throttle(percent)
        : Mono.fromRunnable(() -> means.set(percent));
  }

  /** From here on the process has all its time: what is left to do is QEMU's own. */
  private void letRun() {
    ProcessThrottle means = throttle;
    if (means != null) {
      means.hold();
    }
  }

  @Override
  public Mono<Void> pause() {
    return Mono.<Void>fromRunnable(this::letRun).then(Mono.defer(this::stop));
  }

  private Mono<Void> stop() {
    return Mono.defer(
        () ->
            state != null
                ? Mono.empty()
                : settings
                    .then(qemu.run(QmpCommands::stop))
                    .then(takeState())
                    .doOnNext(taken -> state = taken)
                    .then());
  }

  private Mono<byte[]> takeState() {
    return Mono.using(
        () -> {
          try {
            return socket.outlet();
          } catch (IOException e) {
            throw MigrationException.of(
                Kind.GUEST, "no socket can be made for the devices' state: " + e.getMessage(), e);
          }
        },
        outlet ->
            Mono.zip(
                    outlet.read(spec.maxDeviceStateBytes()),
                    qemu.run(
                        commands ->
                            commands
                                .migrate(outlet.uri())
                                .then(commands.awaitMigration(spec.deviceTimeout()))),
                    (bytes, status) -> bytes)
                .timeout(spec.deviceTimeout(), Mono.error(this::tookTooLong))
                .flatMap(bytes -> finished().thenReturn(bytes)),
        outlet -> {
          try {
            outlet.close();
          } catch (IOException e) {
            throw new UncheckedIOException(e);
          }
        });
  }

  private MigrationException tookTooLong() {
    return MigrationException.of(
        Kind.TIMEOUT,
        "%s did not give its devices' state within %.1f s"
            .formatted(qemu.name(), spec.deviceTimeout().toMillis() / 1000.0));
  }

  /** Waits until QEMU is done with its own migration: a moment later than it tells. */
  private Mono<Void> finished() {
    return qemu.run(QmpCommands::queryStatus)
        .filter(status -> !status.equals("finish-migrate"))
        .repeatWhenEmpty(again -> again.delayElements(POLL))
        .timeout(spec.deviceTimeout(), Mono.error(this::tookTooLong))
        .then();
  }

  @Override
  public Mono<Void> resume() {
    return Mono.defer(
        () -> {
          state = null;
          return persistently(
              stopMigrating()
                  .then(finished())
                  .then(running ? qemu.run(QmpCommands::cont) : Mono.empty()));
        });
  }

  /**
   * A QEMU that does not answer may only be frozen, with the order to stop its guest still before
   * it: it is told again what it is to do after that, for as long as it may take for its devices.
   * One whose connection was lost is told again, too, but not for long: it may have ended.
   */
  private Mono<Void> persistently(Mono<Void> order) {
    return order
        .retryWhen(
            Retry.backoff(RECONNECTIONS, RECONNECTION_PAUSE)
                .filter(e -> QemuMonitor.isOfKind(e, Kind.TRANSPORT))
                .onRetryExhaustedThrow((retry, last) -> last.failure()))
        .retryWhen(Retry.indefinitely().filter(e -> QemuMonitor.isOfKind(e, Kind.TIMEOUT)))
        .timeout(
            spec.deviceTimeout(),
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.TIMEOUT,
                        "%s does not answer, and may stop its guest when it does"
                            .formatted(qemu.name()))));
  }

  /** Stops QEMU's own migration, if the pause was given up within it. */
  private Mono<Void> stopMigrating() {
    return qemu.run(
        commands ->
            commands
                .queryMigrate()
                .filter(now -> !now.isEnded() && !now.status().equals("none"))
                .flatMap(
                    now ->
                        commands
                            .migrateCancel()
                            .then(commands.awaitMigration(spec.deviceTimeout()))
                            // That it was cancelled is how it should end.
                            .onErrorComplete(e -> QemuMonitor.isOfKind(e, Kind.GUEST)))
                .then());
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return Flux.defer(
        () -> {
          byte[] taken = state;
          return taken == null
              ? Flux.error(MigrationException.of(Kind.INTERNAL, "the devices' state was not taken"))
              : Flux.just(taken);
        });
  }

  /** {@return whether the guest runs, and how its own migration stands, for a check before} */
  static Mono<Boolean> requireMigratable(QemuMonitor qemu) {
    return qemu.run(
        commands ->
            commands
                .queryStatus()
                .zipWith(commands.queryMigrate())
                .map(
                    both -> {
                      String status = both.getT1();
                      MigrateStatus migration = both.getT2();
                      if (!migration.isEnded() && !migration.status().equals("none")) {
                        throw MigrationException.of(
                            Kind.GUEST,
                            "%s migrates already: its own migration is %s"
                                .formatted(qemu.name(), migration.status()));
                      }
                      return switch (status) {
                        case "running" -> true;
                        case "paused", "prelaunch" -> false;
                        case "postmigrate" ->
                            throw MigrationException.of(
                                Kind.GUEST,
                                qemu.name()
                                    + " has given its guest away already: it is in the state"
                                    + " postmigrate");
                        case "inmigrate" ->
                            throw MigrationException.of(
                                Kind.GUEST,
                                qemu.name()
                                    + " cannot be the source: it waits for a guest itself"
                                    + " (-incoming)");
                        default ->
                            throw MigrationException.of(
                                Kind.GUEST,
                                "%s cannot be the source: its guest is in the state %s"
                                    .formatted(qemu.name(), status));
                      };
                    }));
  }
}
