package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.GuestMemory;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.transport.Acceptor;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * What one connection of a post-copy brings to the destination, together with its lane: absent
 * pages, which are counted, and the word that those were all.
 *
 * <p>What the migration's own connection brings comes serially; pages on the lane come on another
 * thread at the same time.
 */
final class PostcopyArrivals {

  private final GuestMemory memory;
  private final Consumer<Throwable> onFailure;
  private final Runnable onComplete;

  private volatile @Nullable IncomingLane lane;
  private volatile @Nullable AbsentPages absent;
  private volatile long expectedPages;
  private volatile long requestedBefore;
  private final AtomicLong pushedPages = new AtomicLong();
  private final AtomicLong demandedPages = new AtomicLong();

  // Guarded by this object's monitor.
  private WireRecord.@Nullable PostcopyEnd end;
  private boolean complete;

  /**
   * @param onFailure learns of what goes wrong with the lane
   * @param onComplete called once, when every page is here and was told to be
   */
  PostcopyArrivals(GuestMemory memory, Consumer<Throwable> onFailure, Runnable onComplete) {
    this.memory = memory;
    this.onFailure = onFailure;
    this.onComplete = onComplete;
  }

  /** The source is about to open the lane. */
  void listen(
      Acceptor acceptor,
      UUID session,
      BatchGeometry geometry,
      Duration peerTimeout,
      Scheduler timer) {
    IncomingLane made =
        new IncomingLane(
            memory.layout(), geometry, session, peerTimeout, timer, this::demanded, onFailure);
    lane = made;
    made.accept(acceptor);
  }

  /**
   * {@return the lane}
   *
   * @param what what the source does for which it has to be there
   */
  IncomingLane requireLane(String what) {
    IncomingLane made = lane;
    if (made == null || !made.isFound()) {
      throw protocol(what + " before the connection for requested pages is there");
    }
    return made;
  }

  private static MigrationException protocol(String what) {
    return MigrationException.of(Kind.PROTOCOL, "the source " + what);
  }

  /**
   * From here on pages come, and may be asked for; those that were asked for on another connection
   * and have not come are asked for again.
   *
   * @param pages what is absent
   * @param expected how many pages are to come by this connection
   */
  void begin(AbsentPages pages, long expected) {
    IncomingLane made = requireLane("begins post-copy");
    expectedPages = expected;
    requestedBefore = pages.requestedPages();
    absent = pages;
    pages.onOwned(this::owned);
    pages.connect(made::request);
  }

  private AbsentPages pages() {
    AbsentPages pages = absent;
    if (pages == null) {
      throw protocol("sends requested pages, but this is no post-copy yet");
    }
    return pages;
  }

  /** Pages have come in the background. */
  void pushed(PageBatch batch) {
    arrived(batch, pushedPages, false);
  }

  private void demanded(PageBatch batch) {
    arrived(batch, demandedPages, true);
    completeIfAllHaveCome();
  }

  private void arrived(PageBatch batch, AtomicLong counter, boolean onDemand) {
    AbsentPages pages = pages();
    if (batch.count(PageKind.DELTA) + batch.count(PageKind.PLACED) > 0) {
      throw protocol("sends pages in post-copy that are neither zero nor whole: " + batch);
    }
    if (pushedPages.get() + demandedPages.get() + batch.size() > expectedPages) {
      throw protocol("sends more than the %d pages that were absent".formatted(expectedPages));
    }
    pages.arrived(batch, onDemand);
    counter.addAndGet(batch.size());
  }

  /** The source says that it has sent everything. Some of it may be on its way on the lane. */
  void end(WireRecord.PostcopyEnd said) {
    AbsentPages pages = pages();
    if (said.pushed() != pushedPages.get()
        || said.requested() > pages.requestedPages() - requestedBefore
        || said.requested() < demandedPages.get()) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "the source claims to have pushed %d pages and sent %d on request, but %d and %d have come"
              .formatted(said.pushed(), said.requested(), pushedPages.get(), demandedPages.get()));
    }
    synchronized (this) {
      end = said;
    }
    completeIfAllHaveCome();
  }

  /** The guest has written pages, of which copies may have come. */
  private void owned() {
    try {
      completeIfAllHaveCome();
    } catch (RuntimeException e) {
      onFailure.accept(e); // which is not the guest's
    }
  }

  private void completeIfAllHaveCome() {
    AbsentPages pages = pages();
    boolean owning = pages.isOwning(); // In this order, before what is missing.
    synchronized (this) {
      WireRecord.PostcopyEnd said = end;
      if (said == null || complete || demandedPages.get() < said.requested()) {
        return;
      }
      if (owning && pages.missing() > 0) {
        return; // It will be heard of.
      }
      if (demandedPages.get() > said.requested()
          || pages.missing() > 0
          || said.pushed() + said.requested() != expectedPages) {
        throw MigrationException.of(
            Kind.INTEGRITY,
            "the source claims to have sent everything, %d pages, but %d of %d are missing, from %s on"
                .formatted(
                    said.pushed() + said.requested(),
                    pages.missing(),
                    expectedPages,
                    pages.firstMissing()));
      }
      complete = true;
    }
    onComplete.run();
  }

  /** {@return bytes of records that have come on the lane} */
  long laneBytes() {
    IncomingLane made = lane;
    return made == null ? 0 : made.bytesRead();
  }

  /**
   * Closes the lane.
   *
   * @param failure why; null if all is well
   */
  Mono<Void> close(@Nullable MigrationException failure) {
    return Mono.defer(
        () -> {
          IncomingLane made = lane;
          return made == null ? Mono.empty() : made.close(failure);
        });
  }
}
