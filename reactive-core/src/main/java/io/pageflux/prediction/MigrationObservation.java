package io.pageflux.prediction;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Mono;
import reactor.core.publisher.MonoSink;

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
    return of(spec, Mono.never());
  }

  /**
   * The same, until somebody has seen enough.
   *
   * @param stop when it completes or fails, the observation ends without a profile. Unlike after a
   *     cancel, everything has been given back then, and the memory may be closed
   */
  public static Mono<GuestProfile> of(ObservationSpec spec, Mono<Void> stop) {
    return Mono.create(
        sink -> {
          Watcher watcher = new Watcher(spec, sink);
          Disposable stopping =
              stop.subscribe(v -> {}, e -> watcher.stop.countDown(), watcher.stop::countDown);
          sink.onCancel(watcher.stop::countDown);
          sink.onDispose(stopping);
          Thread thread = new Thread(watcher, "pageflux-watch");
          thread.setDaemon(true);
          thread.start();
        });
  }

  /** What the thread does: it takes, watches and gives back. */
  private record Watcher(ObservationSpec spec, MonoSink<GuestProfile> sink, CountDownLatch stop)
      implements Runnable {

    Watcher(ObservationSpec spec, MonoSink<GuestProfile> sink) {
      this(spec, sink, new CountDownLatch(1));
    }

    @Override
    public void run() {
      @Nullable GuestProfile profile;
      try (GuestWatch watch = GuestWatch.open(spec)) {
        profile = watch(watch);
      } catch (Throwable e) {
        if (stop.getCount() > 0) {
          sink.error(e);
        } else {
          sink.success();
        }
        return;
      }
      sink.success(profile);
    }

    /** {@return what was seen, or null if it was stopped} */
    private @Nullable GuestProfile watch(GuestWatch watch) throws InterruptedException {
      long least = watch.begin();
      long shortest =
          Math.max(
              SHORTEST_PERIOD.toNanos(),
              spec.duration().toNanos() / (DirtyHistory.MOST_PERIODS - 6));
      long period = Math.max(shortest, least);
      long end = System.nanoTime() + spec.duration().toNanos();
      // Not at a fixed rate: ticks that were late would come all at once.
      do {
        if (stop.await(period, TimeUnit.NANOSECONDS)) {
          return null;
        }
      } while (watch.tick(System::nanoTime) && System.nanoTime() < end);
      return watch.profile(System::nanoTime);
    }
  }
}
