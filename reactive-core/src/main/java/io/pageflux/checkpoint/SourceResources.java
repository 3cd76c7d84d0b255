package io.pageflux.checkpoint;

import io.pageflux.channel.SlabRelease;
import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.DirtyTracker;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.operator.PageOperators;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.wire.Feature;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;
import reactor.core.scheduler.Schedulers;

/** What a session takes at its source and must give back: threads, staging, tracker, cache. */
final class SourceResources {

  final OutgoingCheckpointSpec spec;
  final Scheduler scanThread;
  final @Nullable Scheduler compressThreads;
  final SlabPool pool;
  final DirtyTracker tracker;
  final @Nullable XbzrleEncoder encoder;

  private SourceResources(
      OutgoingCheckpointSpec spec,
      SlabPool pool,
      DirtyTracker tracker,
      @Nullable XbzrleEncoder encoder) {
    this.spec = spec;
    this.pool = pool;
    this.tracker = tracker;
    this.encoder = encoder;
    this.scanThread = Schedulers.newSingle(SourceResources::scanThread);
    CompressionSpec compression = spec.compression();
    this.compressThreads =
        compression == null
            ? null
            : Schedulers.newParallel("pageflux-compress", compression.workers(), true);
  }

  /** Takes everything, or, if a part of it is not to be had, nothing. */
  static SourceResources open(OutgoingCheckpointSpec spec) {
    DirtyTracker tracker = spec.tracker().apply(spec.memory());
    SlabPool pool = null;
    try {
      pool = SlabPool.mapped(spec.slabs(), spec.geometry());
      XbzrleSpec xbzrle = spec.xbzrle();
      XbzrleEncoder encoder =
          xbzrle == null ? null : new XbzrleEncoder(spec.memory().layout(), xbzrle);
      return new SourceResources(spec, pool, tracker, encoder);
    } catch (RuntimeException | Error e) {
      tracker.close();
      if (pool != null) {
        pool.close();
      }
      throw e;
    }
  }

  /** A thread that may block, which Reactor's own must not: it is the guest's, too. */
  private static Thread scanThread(Runnable work) {
    Thread thread = new Thread(work, "pageflux-scan");
    thread.setDaemon(true);
    return thread;
  }

  /**
   * Zero test, deltas and compression, as far as both sides can.
   *
   * @param features what was agreed on
   */
  Flux<PageBatch> encode(Flux<PageBatch> copies, long features) {
    Flux<PageBatch> batches = copies.transform(PageOperators.zeroPages());
    if (encoder != null && Feature.XBZRLE.in(features)) {
      batches = batches.transform(PageOperators.xbzrleEncode(encoder));
    }
    CompressionSpec compression = spec.compression();
    if (compression != null && compressThreads != null && Feature.ZSTD.in(features)) {
      batches =
          batches.transform(
              PageOperators.zstdCompress(
                  compression.level(), compression.workers(), compressThreads));
    }
    return batches;
  }

  /**
   * Begins a round of deltas. Never a last one, after which the cache would be of no use: each
   * checkpoint is a base of the next.
   */
  void beginRound(int round) {
    if (encoder != null) {
      encoder.beginRound(round, round == 1, false);
    }
  }

  /**
   * Gives everything back, when the pipeline and the transport have let go of it. If they do not,
   * all but the staging area is given back, and this ends in error.
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
                if (encoder != null) {
                  encoder.close();
                }
              }
            })
        .subscribeOn(scanThread);
  }
}
