package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.SlabRelease;
import io.pageflux.codec.XbzrleCounters;
import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.memory.RamLayout;
import io.pageflux.operator.PageScanner;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.WireRecord;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** What one outgoing migration takes and must give back: threads, slabs, tracker, delta cache. */
final class OutgoingResources {

  /** How long a thread that compresses may have nothing to do, if their number may change. */
  private static final int IDLE_SECONDS = 10;

  final Scheduler scanThread;
  final @Nullable Scheduler compressThreads;
  final SlabPool pool;
  final DirtyTracker tracker;
  final PageScanner scanner;
  final PageTrial trial;

  // Changed between rounds on the scanning thread only; asked for counters by any.
  volatile @Nullable XbzrleEncoder encoder;
  private @Nullable XbzrleSpec xbzrle;
  private final RamLayout layout;
  private volatile @Nullable XbzrleCounters countersBefore;

  private final AtomicReference<Consumer<Throwable>> crashes;

  /** Made when the destination has made an offer. */
  volatile @Nullable PageSaver saver;

  private OutgoingResources(
      Scheduler scanThread,
      @Nullable Scheduler compressThreads,
      SlabPool pool,
      DirtyTracker tracker,
      @Nullable XbzrleEncoder encoder,
      OutgoingSpec spec,
      PageScanner scanner,
      AtomicReference<Consumer<Throwable>> crashes) {
    this.scanThread = scanThread;
    this.compressThreads = compressThreads;
    this.pool = pool;
    this.tracker = tracker;
    this.encoder = encoder;
    this.xbzrle = spec.xbzrle();
    this.layout = spec.memory().layout();
    this.scanner = scanner;
    this.trial = new PageTrial(spec.memory(), pool);
    this.crashes = crashes;
  }

  /**
   * Takes everything, or, if a part of it is not to be had, nothing.
   *
   * @param controlled whether compression may change: then threads for it come and go
   */
  static OutgoingResources open(OutgoingSpec spec, boolean controlled) {
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
    AtomicReference<Consumer<Throwable>> crashes = new AtomicReference<>(e -> {});
    Scheduler scanThread = Schedulers.newSingle(work -> scanThread(work, crashes));
    CompressionSpec compression = spec.compression();
    Scheduler compressThreads =
        controlled
            ? Schedulers.newBoundedElastic(
                CompressionSpec.MAX_WORKERS,
                Integer.MAX_VALUE,
                "pageflux-compress",
                IDLE_SECONDS,
                true)
            : compression == null
                ? null
                : Schedulers.newParallel("pageflux-compress", compression.workers(), true);
    return new OutgoingResources(
        scanThread,
        compressThreads,
        pool,
        tracker,
        encoder,
        spec,
        new PageScanner(spec.memory(), tracker, pool, scanThread),
        crashes);
  }

  /**
   * Has somebody told of what Reactor throws on the scanning thread rather than signal it, such as
   * a lack of memory. Nobody would hear of it.
   */
  void whenScanThreadFails(Consumer<Throwable> listener) {
    crashes.set(listener);
  }

  /** A thread that may block, which Reactor's own must not: it is the guest's, too. */
  private static Thread scanThread(
      Runnable work, AtomicReference<? extends Consumer<Throwable>> crashes) {
    Thread thread = new Thread(work, "pageflux-scan");
    thread.setDaemon(true);
    thread.setUncaughtExceptionHandler((t, e) -> crashes.get().accept(e));
    return thread;
  }

  /**
   * Has another delta cache, or none. On the scanning thread, between two rounds. A new one is
   * empty, for what the old one held cannot be told from what the destination has by its size.
   *
   * @return why it could not be had, and nothing has changed; empty if it could
   */
  String cache(@Nullable XbzrleSpec wanted) {
    if (Objects.equals(wanted, xbzrle)) {
      return "";
    }
    XbzrleEncoder old = encoder;
    XbzrleEncoder made;
    try {
      made = wanted == null ? null : new XbzrleEncoder(layout, wanted);
    } catch (RuntimeException | OutOfMemoryError e) {
      return MigrationText.of(e);
    }
    countersBefore = counters();
    encoder = made;
    xbzrle = wanted;
    if (old != null) {
      old.close();
    }
    return "";
  }

  /**
   * Forgets what the delta cache holds, for the destination may lack it. On the scanning thread. If
   * there is no memory for a new one, there are no deltas any more.
   */
  void emptyCache() {
    XbzrleEncoder old = encoder;
    XbzrleSpec wanted = xbzrle;
    if (old == null || wanted == null) {
      return;
    }
    countersBefore = counters();
    encoder = null;
    old.close();
    try {
      encoder = new XbzrleEncoder(layout, wanted);
    } catch (RuntimeException | OutOfMemoryError e) {
      xbzrle = null;
    }
  }

  /** {@return the delta cache's spec as it is} */
  @Nullable XbzrleSpec xbzrle() {
    return xbzrle;
  }

  /** {@return what deltas did so far, with all caches; null if there was none} */
  @Nullable XbzrleCounters counters() {
    XbzrleCounters before = countersBefore;
    XbzrleEncoder now = encoder;
    if (now == null || before == null) {
      return now == null ? before : now.counters();
    }
    XbzrleCounters counted = now.counters();
    return new XbzrleCounters(
        counted.cacheSizeBytes(),
        before.bytes() + counted.bytes(),
        before.pages() + counted.pages(),
        before.cacheMiss() + counted.cacheMiss(),
        counted.cacheMissRate(),
        counted.encodingRate(),
        before.overflow() + counted.overflow());
  }

  private static void giveBack(DirtyTracker tracker, @Nullable SlabPool pool) {
    tracker.close();
    if (pool != null) {
      pool.close();
    }
  }

  /** {@return what is said after an answer, on the thread that may block, not the transport's} */
  Flux<WireRecord> after(Mono<?> answer, Flux<WireRecord> next) {
    return answer.publishOn(scanThread).thenMany(next);
  }

  /** {@return what is done after something else, on the thread that may block} */
  Mono<Void> then(Mono<Void> first, Mono<Void> next) {
    return first.publishOn(scanThread).then(next);
  }

  /**
   * Gives everything back, when the pipeline and the transport have let go of it. If they do not,
   * all but the slabs is given back, and this ends in error.
   */
  Mono<Void> close() {
    return SlabRelease.of(pool, "batches")
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
    trial.close();
    try {
      if (used != null) {
        used.close();
      }
    } finally {
      XbzrleEncoder last = encoder;
      if (last != null) {
        last.close();
      }
    }
  }
}
