package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.operator.PageScanner;
import io.pageflux.page.SlabPool;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** What one outgoing migration takes and must give back: threads, slabs, tracker, delta cache. */
final class OutgoingResources {

  /** How long a transport may take to let go of the batches that it was sending. */
  private static final Duration RELEASE_TIMEOUT = Duration.ofSeconds(10);

  final Scheduler scanThread;
  final @Nullable Scheduler compressThreads;
  final SlabPool pool;
  final DirtyTracker tracker;
  final @Nullable XbzrleEncoder encoder;
  final PageScanner scanner;

  /** Made when the destination has made an offer. */
  volatile @Nullable PageSaver saver;

  private OutgoingResources(
      Scheduler scanThread,
      @Nullable Scheduler compressThreads,
      SlabPool pool,
      DirtyTracker tracker,
      @Nullable XbzrleEncoder encoder,
      PageScanner scanner) {
    this.scanThread = scanThread;
    this.compressThreads = compressThreads;
    this.pool = pool;
    this.tracker = tracker;
    this.encoder = encoder;
    this.scanner = scanner;
  }

  /** Takes everything, or, if a part of it is not to be had, nothing. */
  static OutgoingResources open(OutgoingSpec spec) {
    DirtyTracker tracker = spec.tracker().apply(spec.memory());
    SlabPool pool = null;
    XbzrleEncoder encoder = null;
    try {
      pool = new SlabPool(spec.slabs(), spec.geometry());
      XbzrleSpec xbzrle = spec.xbzrle();
      encoder = xbzrle == null ? null : new XbzrleEncoder(spec.memory().layout(), xbzrle);
    } catch (OutOfMemoryError e) {
      giveBack(tracker, pool);
      throw MigrationException.of(
          MigrationException.Kind.INTERNAL,
          "no memory for %d batches of %d bytes: take fewer slabs, or a larger -XX:MaxDirectMemorySize"
              .formatted(spec.slabs(), spec.geometry().slabBytes()),
          e);
    } catch (RuntimeException | Error e) {
      giveBack(tracker, pool);
      throw e;
    }
    Scheduler scanThread = Schedulers.newSingle(OutgoingResources::scanThread);
    CompressionSpec compression = spec.compression();
    Scheduler compressThreads =
        compression == null
            ? null
            : Schedulers.newParallel("pageflux-compress", compression.workers(), true);
    return new OutgoingResources(
        scanThread,
        compressThreads,
        pool,
        tracker,
        encoder,
        new PageScanner(spec.memory(), tracker, pool, scanThread));
  }

  /** A thread that may block, which Reactor's own must not: it is the guest's, too. */
  private static Thread scanThread(Runnable work) {
    Thread thread = new Thread(work, "pageflux-scan");
    thread.setDaemon(true);
    return thread;
  }

  private static void giveBack(DirtyTracker tracker, @Nullable SlabPool pool) {
    tracker.close();
    if (pool != null) {
      pool.close();
    }
  }

  /**
   * Gives everything back, when the pipeline and the transport have let go of it. If they do not,
   * all but the slabs is given back, and this ends in error.
   */
  Mono<Void> close() {
    return pool.closeWhenIdle()
        .timeout(
            RELEASE_TIMEOUT,
            Mono.error(
                () ->
                    MigrationException.of(
                        MigrationException.Kind.INTERNAL,
                        "batches were not released: " + pool + "; their memory is not freed")))
        .onErrorResume(e -> free().then(Mono.error(e)))
        .then(free())
        // Who hears of the end hears it when the threads have been told to go, and not on them.
        .publishOn(Schedulers.boundedElastic())
        .doOnTerminate(
            () -> {
              scanThread.dispose();
              if (compressThreads != null) {
                compressThreads.dispose();
              }
            });
  }

  /** On the thread that uses them: a cancelled scan may not be over. May be called again. */
  private Mono<Void> free() {
    return Mono.<Void>fromRunnable(
            () -> {
              try {
                tracker.close();
              } finally {
                closeRest();
              }
            })
        .subscribeOn(scanThread);
  }

  private void closeRest() {
    PageSaver used = saver;
    try {
      if (used != null) {
        used.close();
      }
    } finally {
      if (encoder != null) {
        encoder.close();
      }
    }
  }
}
