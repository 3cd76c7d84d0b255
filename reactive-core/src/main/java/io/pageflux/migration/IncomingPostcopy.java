package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.HostPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.transport.Acceptor;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.UUID;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * The destination's part in post-copy.
 *
 * <p>What the migration's own connection brings comes serially; pages on the lane come on another
 * thread at the same time.
 *
 * <p><b>Memory bound:</b> one bit of heap per page for what was received, from the start; see
 * {@link AbsentPages} for what there is after the switch.
 */
final class IncomingPostcopy {

  private final PostcopyMemory guestMemory;
  private final GuestMemory memory;
  private final int hostPageBytes;
  private final MemoryPages received;
  private final Consumer<Throwable> onFailure;
  private final Runnable onComplete;

  private volatile @Nullable IncomingLane lane;
  private @Nullable AbsentPages discarded; // As long as it is being told what is absent.
  private volatile @Nullable AbsentPages absent;
  private int discardedBlock;
  private long discardedEnd;
  private long absentPages;

  // Guarded by this object's monitor.
  private WireRecord.@Nullable PostcopyEnd end;
  private boolean complete;

  /**
   * @param onFailure learns of what goes wrong with the lane
   * @param onComplete called once, when every page is here and was told to be
   */
  IncomingPostcopy(PostcopyMemory guestMemory, Consumer<Throwable> onFailure, Runnable onComplete) {
    this.guestMemory = guestMemory;
    this.memory = guestMemory.memory();
    this.hostPageBytes = Linux.pageSizeBytes();
    this.received = new MemoryPages(memory.layout());
    this.onFailure = onFailure;
    this.onComplete = onComplete;
  }

  /** {@return what the source has to know} */
  WireRecord.PostcopyAdvise advise() {
    return new WireRecord.PostcopyAdvise(hostPageBytes, guestMemory.spec().maxRequests());
  }

  /** Notes what came in a round. */
  void received(PageBatch batch) {
    PageSet pages = received.of(batch.blockIndex());
    for (int i = 0; i < batch.size(); i++) {
      pages.add(batch.page(i));
    }
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

  /** The source says what is absent. */
  void discard(WireRecord.Discard discard) {
    requireLane("says what is absent");
    AbsentPages pages = discarding();
    if (discard.block() >= memory.blocks().size()) {
      throw protocol(
          "discards pages of block %d of a layout of %d"
              .formatted(discard.block(), memory.blocks().size()));
    }
    RamBlock block = memory.block(discard.block());
    if (discard.block() < discardedBlock) {
      throw protocol(
          "discards pages of block %d after some of block %d"
              .formatted(discard.block(), discardedBlock));
    }
    if (discard.block() > discardedBlock) {
      discardedBlock = discard.block();
      discardedEnd = 0;
    }
    int unit = HostPages.perHostPage(block.layout(), hostPageBytes);
    for (WireRecord.Discard.Run run : discard.runs()) {
      long to = run.first() + run.pages();
      if (to > block.pageCount() || run.first() < discardedEnd) {
        throw protocol(
            "discards pages %d to %d of block '%s', which has %d and %d of which it is past"
                .formatted(run.first(), to - 1, block.name(), block.pageCount(), discardedEnd));
      }
      if (run.first() % unit != 0 || to % unit != 0 && to != block.pageCount()) {
        throw protocol(
            "discards pages %d to %d of block '%s', no whole pages of %d bytes"
                .formatted(run.first(), to - 1, block.name(), hostPageBytes));
      }
      absentPages += pages.discard(block.index(), run.first(), to);
      discardedEnd = to;
    }
  }

  private AbsentPages discarding() {
    AbsentPages pages = discarded;
    if (pages == null) {
      pages = new AbsentPages(memory, guestMemory.spec());
      discarded = pages;
    }
    return pages;
  }

  private void requireLane(String what) {
    IncomingLane made = lane;
    if (made == null || !made.isFound()) {
      throw protocol(what + " before the connection for requested pages is there");
    }
  }

  private static MigrationException protocol(String what) {
    return MigrationException.of(Kind.PROTOCOL, "the source " + what);
  }

  /**
   * All is said that is needed to start the guest. From here on it may ask for pages.
   *
   * @throws MigrationException if the numbers differ, or the source has neither sent a page nor
   *     said that it is absent
   */
  void begin(WireRecord.PostcopyBegin begin) {
    requireLane("begins post-copy");
    AbsentPages pages = discarding();
    if (begin.absentPages() != absentPages) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "the source says that %d pages are absent, but has named %d"
              .formatted(begin.absentPages(), absentPages));
    }
    requireAllAccountedFor(pages);
    received.clear();
    IncomingLane made = lane;
    if (made != null) {
      pages.connect(made::request);
    }
    absent = pages;
    guestMemory.begin(pages);
  }

  private void requireAllAccountedFor(AbsentPages pages) {
    for (RamBlock block : memory.blocks()) {
      PageSet here = received.of(block.index());
      for (long page = here.nextClear(0); page < block.pageCount(); ) {
        if (pages.isPresent(block.index(), page)) {
          throw MigrationException.of(
              Kind.INTEGRITY,
              "the source has neither sent page %d of block '%s' nor said that it is absent"
                  .formatted(page, block.name()));
        }
        page = here.nextClear(page + 1);
      }
    }
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
    arrived(batch, false);
  }

  private void demanded(PageBatch batch) {
    arrived(batch, true);
    completeIfAllHaveCome();
  }

  private void arrived(PageBatch batch, boolean onDemand) {
    AbsentPages pages = pages();
    if (batch.count(PageKind.DELTA) + batch.count(PageKind.PLACED) > 0) {
      throw protocol("sends pages in post-copy that are neither zero nor whole: " + batch);
    }
    if (pages.pushedPages() + pages.demandedPages() + batch.size() > absentPages) {
      throw protocol("sends more than the %d pages that were absent".formatted(absentPages));
    }
    pages.arrived(batch, onDemand);
  }

  /** The source says that it has sent everything. Some of it may be on its way on the lane. */
  void end(WireRecord.PostcopyEnd said) {
    AbsentPages pages = pages();
    if (said.pushed() != pages.pushedPages()
        || said.requested() > pages.requestedPages()
        || said.requested() < pages.demandedPages()) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "the source claims to have pushed %d pages and sent %d on request, but %d and %d have come"
              .formatted(
                  said.pushed(), said.requested(), pages.pushedPages(), pages.demandedPages()));
    }
    synchronized (this) {
      end = said;
    }
    completeIfAllHaveCome();
  }

  private void completeIfAllHaveCome() {
    AbsentPages pages = pages();
    synchronized (this) {
      WireRecord.PostcopyEnd said = end;
      if (said == null || complete || pages.demandedPages() < said.requested()) {
        return;
      }
      if (pages.demandedPages() > said.requested()
          || pages.missing() > 0
          || said.pushed() + said.requested() != absentPages) {
        throw MigrationException.of(
            Kind.INTEGRITY,
            "the source claims to have sent everything, %d pages, but %d of %d are missing, from %s on"
                .formatted(
                    said.pushed() + said.requested(),
                    pages.missing(),
                    absentPages,
                    pages.firstMissing()));
      }
      complete = true;
    }
    pages.end(null);
    guestMemory.ended(pages);
    onComplete.run();
  }

  /** {@return what has been going on; null before the switch} */
  @Nullable AbsentPages state() {
    return absent;
  }

  /** {@return pages that were absent at the switch} */
  long absentPages() {
    return absentPages;
  }

  /** {@return bytes of records that have come on the lane} */
  long laneBytes() {
    IncomingLane made = lane;
    return made == null ? 0 : made.bytesRead();
  }

  /** {@return what the source is told at the end} */
  WireRecord.PostcopyComplete completion() {
    return new WireRecord.PostcopyComplete(absentPages);
  }

  /** The source is lost. Who waits for pages learns of it at once, or goes on waiting. */
  void lost(MigrationException reason) {
    AbsentPages pages = absent;
    if (pages != null) {
      pages.disconnect(reason);
    }
  }

  /**
   * Closes the lane. Who waits for pages learns of a failure, or goes on waiting.
   *
   * @param failure why; null if all is well
   * @param guestRuns whether the guest was started here, so that its memory is still of use
   */
  Mono<Void> close(@Nullable MigrationException failure, boolean guestRuns) {
    return Mono.defer(
        () -> {
          AbsentPages pages = absent;
          boolean all;
          synchronized (this) {
            all = complete;
          }
          if (pages != null && failure != null && !all) {
            pages.disconnect(failure);
            if (!guestRuns) {
              pages.end(failure);
            }
          }
          IncomingLane made = lane;
          return made == null ? Mono.empty() : made.close(failure);
        });
  }
}
