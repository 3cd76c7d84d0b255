package io.pageflux.qemu.migrate;

import io.pageflux.MigrationException;
import io.pageflux.migration.MigrationEvent;
import io.pageflux.migration.MigrationInfo;
import io.pageflux.migration.OutgoingControl;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;

/**
 * Moves a guest from one QEMU to another on this machine, while it runs.
 *
 * <p>All memory of both must be in files that QEMU shares ({@code memory-backend-file,share=on}).
 * The pages are copied from file to file in rounds, as by any {@link
 * io.pageflux.migration.OutgoingMigration}; what the guest writes meanwhile is found by comparing.
 * When the rest is short enough the guest is stopped over QMP, and QEMU migrates with {@code
 * x-ignore-shared} on to a socket of ours: its devices, and the memory that is not shared. After
 * the last round that is what the destination loads, and there the guest is let go on.
 *
 * <p>Cold and re-subscribable. QEMU's own migration is set up for this at both ends and put back
 * afterwards; the source ends in the state {@code postmigrate}, and is to be quit.
 *
 * <p><b>Threading:</b> as the migrations of {@code io.pageflux.migration}, and each QMP
 * connection's thread.
 *
 * <p><b>Memory bound:</b> that of an outgoing and an incoming migration, and twice {@link
 * QemuMigrationSpec#maxDeviceStateBytes()} on the heap at the most.
 *
 * <p><b>Errors:</b> a {@link MigrationException}. Unless its message says that the guest was handed
 * over, the guest goes on at the source as it did before, and the destination does not run it; a
 * QEMU that had begun to take devices is of no use for another attempt. If the source's QEMU itself
 * does not answer for {@link QemuMigrationSpec#deviceTimeout()}, the message says that the guest
 * stays paused: it is to be told {@code cont} when it does.
 *
 * <p><b>If this process is killed</b> while the memory is copied, the guest goes on at the source,
 * and no setting of a QEMU has been changed yet. After the guest was stopped, nobody lets it go on:
 * whether it runs at the destination, that QEMU says; if it does not, that QEMU is to be ended, and
 * then the source to be told {@code cont}. No process of ours watches over this one as {@link
 * io.pageflux.migration.ProcessThrottle} has one do, for none could know which it is.
 */
public final class QemuMigration {

  private final QemuMigrationSpec spec;

  private QemuMigration(QemuMigrationSpec spec) {
    this.spec = spec;
  }

  /** {@return a migration by a spec} Nothing happens yet. */
  public static QemuMigration of(QemuMigrationSpec spec) {
    return new QemuMigration(Objects.requireNonNull(spec, "spec"));
  }

  /** {@return what this migration is built from} */
  public QemuMigrationSpec spec() {
    return spec;
  }

  /**
   * Migrates, and tells of it, until somebody asks for it to stop.
   *
   * <p><b>Demand:</b> {@link MigrationEvent.Progress} is left out while there is none; all other
   * events, a few per round, wait for it.
   *
   * <p><b>Discard and cancel:</b> cancelling stops the migration as {@code stop} does, but tells
   * nobody when that is done.
   *
   * @param stop when this completes or emits, the migration stops: the guest goes on at the source,
   *     everything is freed, and then the flux ends with an error of kind {@code CANCELLED}. Once
   *     the hand-over is committed it has no effect any more.
   * @return ends with {@link MigrationEvent.Completed}, or in error
   */
  public Flux<MigrationEvent> events(Mono<?> stop) {
    Objects.requireNonNull(stop, "stop");
    return events(stop, null);
  }

  /**
   * As {@link #events(Mono)}, under somebody's control.
   *
   * @param control of the memory's migration, which begins when both QEMUs have been looked at;
   *     null for none
   */
  public Flux<MigrationEvent> events(Mono<?> stop, @Nullable OutgoingControl control) {
    return Flux.create(
        sink -> {
          // A move is never cancelled itself: there is an order in which it must end.
          Sinks.Empty<Void> stopped = Sinks.empty();
          Disposable watch =
              stop.subscribe(nothing -> {}, stopped::tryEmitError, stopped::tryEmitEmpty);
          sink.onDispose(
              () -> {
                watch.dispose();
                stopped.tryEmitEmpty();
              });
          Flux.usingWhen(
                  Mono.fromSupplier(() -> new QemuMove(spec, stopped.asMono(), control)),
                  QemuMove::run,
                  QemuMove::close)
              .subscribe(
                  event -> {
                    if (!(event instanceof MigrationEvent.Progress)
                        || sink.requestedFromDownstream() > 0) {
                      sink.next(event);
                    }
                  },
                  e -> {
                    if (!sink.isCancelled()) { // else nobody is there to hear it
                      sink.error(e);
                    }
                  },
                  sink::complete);
        });
  }

  /** Migrates. {@return the migration as it was at its end} Otherwise as {@link #events(Mono)}. */
  public Mono<MigrationInfo> run() {
    return events(Mono.never())
        .ofType(MigrationEvent.Completed.class)
        .map(MigrationEvent.Completed::info)
        .single();
  }
}
