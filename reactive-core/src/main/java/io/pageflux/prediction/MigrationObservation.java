package io.pageflux.prediction;

import java.time.Duration;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/**
 * Watches a guest for some time as a migration would, and sends nothing.
 *
 * <p><b>Memory bound:</b> the sample's bytes, one slab, one page and zstd's scratch outside the
 * heap; on the heap 20 MiB, and two bits for each page of the guest; and what the tracker takes.
 *
 * <p><b>Threads:</b> one of its own does the work, so nothing of it blocks the subscriber's; the
 * guest shares its processors with it.
 *
 * <p><b>End:</b> tracker, memory and thread are given back at the end, after an error, and after a
 * cancel as soon as what is being done is done. The guest is never changed.
 *
 * <p><b>Errors:</b> a {@link io.pageflux.MigrationException} of kind {@code TRACKING}.
 */
public final class MigrationObservation {

  private static final Duration SHORTEST_PERIOD = Duration.ofMillis(50);

  private MigrationObservation() {}

  /** {@return what was seen of the guest} Cold; each subscription watches anew. */
  public static Mono<GuestProfile> of(ObservationSpec spec) {
    return Mono.defer(() -> watch(spec));
  }

  private static Mono<GuestProfile> watch(ObservationSpec spec) {
    Scheduler thread =
        Schedulers.fromExecutorService(
            java.util.concurrent.Executors.newSingleThreadScheduledExecutor(
                work -> {
                  Thread made = new Thread(work, "pageflux-watch");
                  made.setDaemon(true);
                  return made;
                }));
    return Mono.usingWhen(
            Mono.fromCallable(() -> GuestWatch.open(spec)).subscribeOn(thread),
            watch -> watch(watch, spec, thread),
            watch -> Mono.fromRunnable(watch::close).subscribeOn(thread))
        .publishOn(Schedulers.boundedElastic())
        .doFinally(end -> Schedulers.boundedElastic().schedule(thread::dispose));
  }

  private static Mono<GuestProfile> watch(
      GuestWatch watch, ObservationSpec spec, Scheduler thread) {
    return Mono.fromCallable(watch::begin)
        .subscribeOn(thread)
        .flatMap(
            least -> {
              long shortest =
                  Math.max(
                      SHORTEST_PERIOD.toNanos(),
                      spec.duration().toNanos() / (DirtyHistory.MOST_PERIODS - 6));
              Duration period = Duration.ofNanos(Math.max(shortest, least));
              long end = System.nanoTime() + spec.duration().toNanos();
              // Not at a fixed rate: ticks that were late would come all at once.
              return Mono.delay(period, thread)
                  .map(tick -> watch.tick(System::nanoTime) && System.nanoTime() < end)
                  .repeat()
                  .takeWhile(more -> more)
                  .then(
                      Mono.fromCallable(() -> watch.profile(System::nanoTime)).subscribeOn(thread));
            });
  }
}
