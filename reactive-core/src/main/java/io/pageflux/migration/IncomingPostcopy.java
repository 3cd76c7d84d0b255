package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.internal.Linux;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.PageBatch;
import io.pageflux.postcopy.AbsentPages;
import io.pageflux.postcopy.HostPages;
import io.pageflux.postcopy.PostcopyMemory;
import io.pageflux.wire.WireRecord;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;

/**
 * The destination's part in post-copy that outlives a connection: what has come in rounds, and what
 * is absent since the switch. What one connection brings of the latter is {@link PostcopyArrivals}'
 * business.
 *
 * <p><b>Memory bound:</b> one bit of heap per page for what was received, from the start; see
 * {@link AbsentPages} for what there is after the switch, and one bit per page more while a source
 * that has come back is told what is missing.
 */
final class IncomingPostcopy {

  private final PostcopyMemory guestMemory;
  private final GuestMemory memory;
  private final int hostPageBytes;
  private final MemoryPages received;

  private @Nullable AbsentPages discarded; // As long as it is being told what is absent.
  private volatile @Nullable AbsentPages absent;
  private int discardedBlock;
  private long discardedEnd;
  private long absentPages;

  IncomingPostcopy(PostcopyMemory guestMemory) {
    this.guestMemory = guestMemory;
    this.memory = guestMemory.memory();
    this.hostPageBytes = Linux.pageSizeBytes();
    this.received = new MemoryPages(memory.layout());
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

  /** The source says what is absent. */
  void discard(WireRecord.Discard discard) {
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

  private static MigrationException protocol(String what) {
    return MigrationException.of(Kind.PROTOCOL, "the source " + what);
  }

  /**
   * All is said that is needed to start the guest. From here on it may ask for pages.
   *
   * @return what comes is to be given to
   * @throws MigrationException if the numbers differ, or the source has neither sent a page nor
   *     said that it is absent
   */
  AbsentPages begin(WireRecord.PostcopyBegin begin) {
    AbsentPages pages = discarding();
    if (begin.absentPages() != absentPages) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "the source says that %d pages are absent, but has named %d"
              .formatted(begin.absentPages(), absentPages));
    }
    requireAllAccountedFor(pages);
    discarded = null;
    absent = pages;
    guestMemory.begin(pages);
    return pages;
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

  /**
   * Forgets that pages were absent: the guest was not started, and the source has it go on. All of
   * them it sends again.
   */
  void forget() {
    AbsentPages pages = absent;
    if (pages != null) {
      guestMemory.ended(pages);
    }
    absent = null;
    discarded = null;
    discardedBlock = 0;
    discardedEnd = 0;
    absentPages = 0;
  }

  /** {@return what has been going on; null before the switch} */
  @Nullable AbsentPages state() {
    return absent;
  }

  /** {@return pages that were absent at the switch} */
  long absentPages() {
    return absentPages;
  }

  /**
   * {@return what a source is told that comes back after the switch: that the guest runs here, and
   * what it lacks}
   *
   * @param missing what it lacks, looked at before this
   */
  Flux<WireRecord> told(MemoryPages missing) {
    AbsentPages pages = absent;
    long owned = pages == null ? 0 : pages.ownedPages();
    return Flux.concat(
        Flux.just(new WireRecord.GuestRuns(absentPages, missing.cardinality(), owned)),
        Discards.of(missing),
        Flux.just(advise(), new WireRecord.Ready()));
  }

  /** Every page is here. {@return what the source is told} */
  WireRecord.PostcopyComplete completed() {
    AbsentPages pages = absent;
    if (pages != null) {
      pages.end(null);
      guestMemory.ended(pages);
    }
    return new WireRecord.PostcopyComplete(absentPages);
  }

  /**
   * The source is lost.
   *
   * @param awaited whether it may come back: then who waits for pages goes on waiting. Else he
   *     learns of it at once, or goes on waiting
   */
  void lost(MigrationException reason, boolean awaited) {
    AbsentPages pages = absent;
    if (pages == null) {
      return;
    }
    if (awaited) {
      pages.pause(reason);
    } else {
      pages.disconnect(reason);
    }
  }

  /** The guest was not started: nobody will run it with this memory as it is. */
  void abandon(MigrationException reason) {
    AbsentPages pages = absent;
    if (pages != null) {
      pages.disconnect(reason);
      pages.end(reason);
    }
  }
}
