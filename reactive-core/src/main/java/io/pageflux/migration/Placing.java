package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.PageRewriter;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * What a {@link PageSaver} does in a migration: it is asked for each batch, what it takes becomes
 * pages of kind {@code PLACED}, and what it moved counts for the position.
 */
final class Placing {

  private final OutgoingSpec spec;
  private final OutgoingResources resources;
  private final OutgoingStatistics statistics;
  private final Scheduler timer;
  private final Consumer<Throwable> onFailure;
  private final AtomicLong unpaidBytes = new AtomicLong();

  /**
   * @param onFailure learns of a saver that takes too long
   */
  Placing(
      OutgoingSpec spec,
      OutgoingResources resources,
      OutgoingStatistics statistics,
      Scheduler timer,
      Consumer<Throwable> onFailure) {
    this.spec = spec;
    this.resources = resources;
    this.statistics = statistics;
    this.timer = timer;
    this.onFailure = onFailure;
  }

  /** Makes the saver, if the destination has made an offer. On the scanning thread. */
  void begin(WireRecord.@Nullable Offer offer) {
    PageSaver.Maker maker = spec.lifecycle().pageSaver();
    if (offer == null || maker == null) {
      return;
    }
    PageSaver saver = asked("make a page saver", () -> maker.make(spec.memory().layout(), offer));
    resources.saver = saver;
    statistics.placing(saver.blocks().size(), saver.refusals());
  }

  /** {@return bytes of which {@link #takeUnpaidBytes()} was not told} They are now. */
  long takeUnpaidBytes() {
    return unpaidBytes.getAndSet(0);
  }

  /** {@return the operator that has each batch saved, in {@code onNext}} */
  Function<Flux<PageBatch>, Flux<PageBatch>> through() {
    return batches ->
        batches.map(
            batch -> {
              try {
                save(batch);
                return batch;
              } catch (RuntimeException | Error e) {
                batch.release();
                throw e;
              }
            });
  }

  private void save(PageBatch batch) {
    PageSaver saver = resources.saver;
    int pages = batch.count(PageKind.RAW);
    if (saver == null || pages == 0) {
      return;
    }
    PageSaver.Saved saved = asked("save pages", () -> saver.save(batch));
    if (saved.result() == PageSaver.Result.NOT_SUPPORTED) {
      return;
    }
    for (PageRewriter page = batch.rewrite(); page.next(); ) {
      if (page.kind() == PageKind.RAW) {
        page.toPlaced();
      }
    }
    statistics.placed(pages, saved.bytes());
    unpaidBytes.addAndGet(saved.bytes());
  }

  @FunctionalInterface
  private interface Work<T> {
    T get();
  }

  /** The thread is the scanning one: when it takes too long, the migration's end interrupts it. */
  private <T> T asked(String what, Work<T> work) {
    Duration patience = spec.peerTimeout();
    Disposable watch =
        timer.schedule(
            () -> onFailure.accept(tooLate(what, patience)),
            patience.toMillis(),
            TimeUnit.MILLISECONDS);
    try {
      return work.get();
    } catch (RuntimeException e) {
      throw failure(what, e);
    } finally {
      watch.dispose();
    }
  }

  /** Completes when all that was taken is in place. */
  Mono<Void> flush() {
    PageSaver saver = resources.saver;
    return saver == null
        ? Mono.empty()
        : Mono.defer(saver::flush)
            .timeout(
                spec.peerTimeout(),
                Mono.error(() -> tooLate("bring pages into place", spec.peerTimeout())),
                timer)
            .onErrorMap(e -> failure("bring pages into place", e));
  }

  /** Lets go of the destination's memory, before somebody else runs on it. */
  void end() {
    PageSaver saver = resources.saver;
    if (saver != null) {
      saver.close();
    }
  }

  private static MigrationException tooLate(String what, Duration patience) {
    return MigrationException.of(
        Kind.TIMEOUT,
        "the page saver could not %s within %s".formatted(what, MigrationText.of(patience)));
  }

  private static MigrationException failure(String what, Throwable e) {
    return e instanceof MigrationException known
        ? known
        : MigrationException.of(
            Kind.INTERNAL,
            "the page saver could not %s: %s".formatted(what, MigrationText.of(e)),
            e);
  }
}
