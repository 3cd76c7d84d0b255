package io.pageflux.migration;

import java.util.Objects;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * The source's side of a live migration: rounds of dirty pages until the rest can be sent within
 * the downtime limit, then pause, last round, hand-over.
 *
 * <p>Cold and re-subscribable: each subscription connects anew and migrates from the beginning.
 *
 * <p><b>Threading:</b> memory is scanned and copied on a thread of the migration's own; events come
 * from various threads, one at a time. Nothing may be blocked in {@code onNext} for long.
 *
 * <p><b>Memory bound:</b> {@link OutgoingSpec#slabs()} slabs of {@link OutgoingSpec#geometry()} and
 * what the compression workers use (about 1 MiB each) of direct memory; outside both heap and
 * direct memory the XBZRLE cache and the tracker's own; on the heap four bits per page.
 *
 * <p><b>Errors:</b> a {@link io.pageflux.MigrationException}. Whenever it comes before the
 * hand-over was committed, the guest runs at the source when it arrives; the package's
 * documentation says what holds after that.
 */
public final class OutgoingMigration {

  private final OutgoingSpec spec;
  private final RunningOutgoing running = new RunningOutgoing();

  private OutgoingMigration(OutgoingSpec spec) {
    this.spec = spec;
  }

  /** {@return a migration by a spec} Nothing happens yet. */
  public static OutgoingMigration of(OutgoingSpec spec) {
    return new OutgoingMigration(Objects.requireNonNull(spec, "spec"));
  }

  /** {@return what this migration is built from} */
  public OutgoingSpec spec() {
    return spec;
  }

  /**
   * Migrates, and tells of it.
   *
   * <p><b>Demand:</b> {@link MigrationEvent.Progress} is left out while there is none; all other
   * events, a few per round, wait for it. The migration itself does not wait.
   *
   * <p><b>Discard and cancel:</b> cancelling stops the migration as the stop of {@link
   * #events(Mono)} does, but tells nobody when that is done.
   *
   * @return ends with {@link MigrationEvent.Completed}, or in error
   */
  public Flux<MigrationEvent> events() {
    return events(Mono.never());
  }

  /**
   * Migrates, and tells of it, until somebody asks for it to stop.
   *
   * @param stop when this completes or emits, the migration stops: the destination is told, the
   *     guest is resumed, everything is freed, and then the flux ends with an error of kind {@code
   *     CANCELLED}. Once the hand-over is committed it has no effect any more.
   * @return as {@link #events()}
   */
  public Flux<MigrationEvent> events(Mono<?> stop) {
    Objects.requireNonNull(stop, "stop");
    return MigrationRun.events(
        stop, (events, stopped) -> new OutgoingSession(spec, stopped, events, running).run());
  }

  /**
   * Says what has yet to be read and sent, by what is known: QEMU's {@code state_pending_estimate}.
   * Costs nothing. Of several subscriptions, the one that connected last is asked.
   *
   * @return in error, with an {@code IllegalStateException}, if no migration is under way
   */
  public Mono<Pending> pendingEstimate() {
    return Mono.fromSupplier(() -> running.current().pendingEstimate());
  }

  /**
   * Collects the dirty pages, and says what has yet to be read and sent: QEMU's {@code
   * state_pending_exact}. It is done on the migration's thread, between two batches, in slices;
   * what it finds is sent as if the migration had found it itself. A tracker that compares is not
   * asked while pages are being read, for it would report those that are still to be read, and none
   * is while the migration is paused: then the answer is the estimate, and says so.
   *
   * @return in error, with an {@code IllegalStateException}, if no round has begun, the guest was
   *     handed over, or no migration is under way
   */
  public Mono<Pending> pendingExact() {
    return Mono.defer(() -> running.current().pendingExact());
  }

  /**
   * Continues a migration that has {@linkplain OutgoingSpec#withPauseBeforeSwitchover paused before
   * its switch-over}: QEMU's {@code migrate-continue}.
   *
   * @return in error, with an {@code IllegalStateException}, if it does not wait for that
   */
  public Mono<Void> continueMigration() {
    return Mono.fromRunnable(
        () -> {
          OutgoingConversation current = running.current();
          if (!current.goOn()) {
            throw RunningOutgoing.notWaiting(current.info().status());
          }
        });
  }

  /**
   * Switches a migration to post-copy that was {@linkplain OutgoingSpec#withPostcopy agreed on}
   * with the destination: QEMU's {@code migrate-start-postcopy}. The round under way is left after
   * the batches that were read; the guest is paused then and goes on at the destination before all
   * pages are there. Nothing happens if that has been asked for.
   *
   * @return completes at once; in error, with an {@code IllegalStateException}, if no round is
   *     under way, the guest is being handed over, the migration is paused, or the destination
   *     cannot
   */
  public Mono<Void> startPostcopy() {
    return Mono.fromRunnable(() -> running.current().startPostcopy());
  }

  /**
   * Migrates, and tells of it, under somebody's control. Both XBZRLE and zstd are agreed on with
   * the destination then, so that they can be switched on later. Otherwise as {@link #events()}.
   *
   * @param control for one migration at a time: a subscription fails while it has another one
   */
  public Flux<MigrationEvent> events(OutgoingControl control) {
    return events(Mono.never(), control);
  }

  /** As {@link #events(OutgoingControl)}, until somebody asks for it to stop by either means. */
  public Flux<MigrationEvent> events(Mono<?> stop, OutgoingControl control) {
    Objects.requireNonNull(stop, "stop");
    Objects.requireNonNull(control, "control");
    return MigrationRun.events(
        stop,
        (events, stopped) -> new OutgoingSession(spec, stopped, events, running, control).run());
  }

  /** Migrates. {@return the migration as it was at its end} Otherwise as {@link #events()}. */
  public Mono<MigrationInfo> run() {
    return MigrationRun.result(events());
  }
}
