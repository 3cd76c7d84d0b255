package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.ZeroTest;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.MemoryPages;
import io.pageflux.memory.RamBlock;
import io.pageflux.operator.PageOperators;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.postcopy.HostPages;
import io.pageflux.postcopy.OwedPages;
import io.pageflux.transport.Connector;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.lang.foreign.MemorySegment;
import java.util.UUID;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/**
 * The source's part in post-copy: what it says at the switch, the lane, and the push in the
 * background.
 *
 * <p>In the order of the methods. The guest is paused from before {@link #discards} on, so memory
 * does not change. On a connection that goes on with a post-copy {@link #recover} and {@link
 * #resume} take the place of {@link #discards} and {@link #begin}.
 */
final class OutgoingPostcopy {

  /** What is pushed at a limited bandwidth takes this part of a second at the most, */
  private static final int WINDOWS_PER_SECOND = 50;

  /** but twice what the destination takes before it says so, at the least. */
  private static final long LEAST_WINDOW_BYTES = 2 * IncomingConversation.PUSH_ACKNOWLEDGED_BYTES;

  private final OutgoingSpec spec;
  private final GuestMemory memory;
  private final OutgoingResources resources;
  private final OutgoingStatistics statistics;
  private final UUID session;
  private final Scheduler timer;
  private final Consumer<Throwable> onFailure;

  private WireRecord.@Nullable PostcopyAdvise advised;
  private volatile @Nullable OutgoingLane lane;
  private volatile @Nullable OwedPages owed;
  private final PushWindow window;
  private long absentPages;

  /** What was owed on the connection before; null if there was none in post-copy. */
  private final @Nullable OwedPages before;

  OutgoingPostcopy(
      OutgoingSpec spec,
      OutgoingResources resources,
      OutgoingStatistics statistics,
      UUID session,
      Scheduler timer,
      Consumer<Throwable> onFailure,
      @Nullable OwedPages before) {
    this.spec = spec;
    this.memory = spec.memory();
    this.resources = resources;
    this.statistics = statistics;
    this.session = session;
    this.timer = timer;
    this.onFailure = onFailure;
    this.window = new PushWindow(windowBytes(spec));
    this.before = before;
    this.absentPages = before == null ? 0 : before.absentPages();
  }

  /**
   * With a limit of the bandwidth a page of the window waits for what is before it that much
   * longer.
   */
  private static long windowBytes(OutgoingSpec spec) {
    OutgoingPostcopySpec postcopy = spec.lifecycle().postcopy();
    long most =
        postcopy == null ? OutgoingPostcopySpec.MIN_PUSH_WINDOW_BYTES : postcopy.pushWindowBytes();
    return spec.maxBandwidth() == 0
        ? most
        : Math.clamp(spec.maxBandwidth() / WINDOWS_PER_SECOND, LEAST_WINDOW_BYTES, most);
  }

  /** The destination says what it is like. {@return false if it has said so before} */
  boolean advised(WireRecord.PostcopyAdvise advise) {
    if (advised != null) {
      return false;
    }
    advised = advise;
    return true;
  }

  private WireRecord.PostcopyAdvise advice() {
    WireRecord.PostcopyAdvise given = advised;
    if (given == null) {
      throw MigrationException.of(
          Kind.PROTOCOL, "the destination has agreed on post-copy, but not said what it is like");
    }
    return given;
  }

  /** Has the destination expect the lane, and completes when it is there. The guest still runs. */
  Flux<WireRecord> openLane(Connector connector) {
    return Flux.defer(
        () -> {
          advice();
          OutgoingLane made =
              new OutgoingLane(
                  memory,
                  new WireRecord.Hello(
                      WireLimits.VERSION,
                      WireLimits.VERSION,
                      Feature.POSTCOPY.mask(),
                      Feature.POSTCOPY.mask(),
                      session,
                      1,
                      2,
                      WireLimits.SOFTWARE),
                  spec.peerTimeout(),
                  timer,
                  statistics,
                  onFailure);
          lane = made;
          return Flux.concat(
              Flux.just(new WireRecord.PostcopyListen()),
              made.open(connector).publishOn(resources.scanThread).thenMany(Flux.empty()));
        });
  }

  private OutgoingLane lane() {
    OutgoingLane made = lane;
    if (made == null) {
      throw new IllegalStateException("there is no lane");
    }
    return made;
  }

  /**
   * What the destination lacks, in whole pages of its host.
   *
   * @param lacking what it lacks; from here on this object's
   */
  Flux<WireRecord> discards(MemoryPages lacking) {
    HostPages.expand(lacking, advice().hostPageBytes());
    absentPages = lacking.cardinality();
    statistics.absent(absentPages);
    // The set that is told of is the one that pages are taken from, but not before all is told.
    return Discards.of(lacking).doOnComplete(() -> owed = new OwedPages(lacking));
  }

  /**
   * Takes up what another connection has left.
   *
   * @param missing what the destination says that it lacks; from here on this object's
   * @param said what it says besides
   * @throws MigrationException of kind {@code PROTOCOL}, if that cannot be
   */
  void recover(MemoryPages missing, WireRecord.GuestRuns said) {
    OwedPages last = before;
    if (last == null) {
      throw new IllegalStateException("there is no post-copy to go on with");
    }
    if (said.absentPages() != absentPages || said.missingPages() != missing.cardinality()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the destination claims to lack %d of %d pages, but %d were discarded, and it names %d"
              .formatted(
                  said.missingPages(), said.absentPages(), absentPages, missing.cardinality()));
    }
    owed = last.restarted(missing, said.ownedPages());
  }

  /** The lane is there; from here on the destination may ask for pages again. */
  WireRecord resume() {
    lane().serveFrom(owed(), advice().maxRequests());
    return new WireRecord.PostcopyResume(owed().left());
  }

  /** {@return what was owed last; null if it has not come to that} */
  @Nullable OwedPages lastOwed() {
    OwedPages pages = owed;
    return pages == null ? before : pages;
  }

  /**
   * All is said that the destination needs to start the guest; from here on it may ask for pages.
   */
  WireRecord begin(long sentPages, long deviceStateBytes) {
    lane().serveFrom(owed(), advice().maxRequests());
    return new WireRecord.PostcopyBegin(sentPages, absentPages, deviceStateBytes);
  }

  private OwedPages owed() {
    OwedPages pages = owed;
    if (pages == null) {
      throw new IllegalStateException("it has not been told what is absent");
    }
    return pages;
  }

  /**
   * Pushes what was not asked for, and says that it was all.
   *
   * <p><b>Ordering and threading:</b> read on the scanning thread, from behind the last page that
   * was asked for.
   *
   * <p><b>Memory bound:</b> the slabs of the migration, and no more than the window on its way.
   *
   * @param features what was agreed on
   */
  Flux<WireRecord> push(long features) {
    Flux<PageBatch> batches =
        Flux.<Boolean>generate(
                sink -> {
                  if (owed().left() == 0) {
                    sink.complete();
                  } else {
                    sink.next(true);
                  }
                })
            .concatMap(more -> window.room().publishOn(resources.scanThread).thenReturn(more), 0)
            // Apart from the above, and not by flatMap: it loses a slab that is on its way when it
            // is
            // cancelled.
            .concatMap(more -> Mono.defer(this::slab).mapNotNull(this::next), 0)
            .subscribeOn(resources.scanThread)
            .doOnDiscard(Lease.class, Lease::release)
            .doOnDiscard(PageBatch.class, PageBatch::release)
            .doOnNext(statistics::pushed);
    CompressionSpec compression = spec.compression();
    if (compression != null && resources.compressThreads != null && Feature.ZSTD.in(features)) {
      batches =
          batches.transform(
              PageOperators.zstdCompress(
                  compression.level(), compression.workers(), resources.compressThreads));
    }
    return Flux.concat(
        batches.doOnNext(statistics::batch).map(WireRecord.Pages::new),
        Mono.fromSupplier(() -> new WireRecord.PostcopyEnd(owed().picked(), owed().taken())));
  }

  private Mono<Lease> slab() {
    SlabPool pool = resources.pool;
    Lease free = pool.tryAcquire();
    return free != null ? Mono.just(free) : pool.acquireOn(resources.scanThread);
  }

  /** Fills a slab with what comes next; nothing if all that was left has been asked for. */
  private @Nullable PageBatch next(Lease lease) {
    try {
      BatchGeometry geometry = resources.pool.geometry();
      OwedPages.Picked picked =
          owed().pick(block -> geometry.pagesPerBatch(memory.block(block).pageSizeBytes()));
      if (picked.pages().length == 0) {
        lease.release();
        return null;
      }
      PageBatch batch = read(picked, lease, geometry);
      window.sent(batch.size(), (long) batch.size() * batch.pageSizeBytes());
      return batch;
    } catch (RuntimeException | Error e) {
      lease.release();
      throw e;
    }
  }

  private PageBatch read(OwedPages.Picked picked, Lease lease, BatchGeometry geometry) {
    RamBlock block = memory.block(picked.block());
    int pageSize = block.pageSizeBytes();
    PageBatch batch =
        new PageBatch(picked.block(), block.layout(), lease, geometry.headroomBytes(), geometry);
    for (long page : picked.pages()) {
      long at = block.pageOffset(page);
      // The guest is paused: nobody writes to the page any more, so it may be looked at twice.
      if (ZeroTest.isZero(block.segment(), at, pageSize)) {
        batch.append(page, PageKind.ZERO, 0);
      } else {
        long to = batch.payloadOffset() + batch.payloadBytes();
        batch.append(page, PageKind.RAW, pageSize);
        MemorySegment.copy(block.segment(), at, batch.slab(), to, pageSize);
      }
    }
    return batch;
  }

  /** The destination has put so many pushed pages in their places. */
  void acknowledged(long pages) {
    window.acknowledged(pages);
  }

  /**
   * The destination says that it has every page.
   *
   * @throws MigrationException if it cannot have
   */
  void complete(WireRecord.PostcopyComplete complete) {
    OwedPages pages = owed;
    if (pages == null || pages.left() > 0 || complete.pages() != absentPages) {
      throw MigrationException.of(
          Kind.INTEGRITY,
          "the destination claims to have %d absent pages, of %d, %d of which were not sent"
              .formatted(
                  complete.pages(), absentPages, pages == null ? absentPages : pages.left()));
    }
  }

  /** {@return pages that are only here, as far as is known} */
  long unsent() {
    OwedPages pages = owed;
    return pages == null ? 0 : pages.left();
  }

  long absentPages() {
    return absentPages;
  }

  /** {@return how many pages were asked for} */
  long requests() {
    OutgoingLane made = lane;
    return made == null ? 0 : made.requests();
  }

  /** {@return bytes of records that were sent on the lane} */
  long bytesWritten() {
    OutgoingLane made = lane;
    return made == null ? 0 : made.bytesWritten();
  }

  /** Closes the lane. */
  Mono<Void> close(@Nullable MigrationException failure) {
    OutgoingLane made = lane;
    return made == null ? Mono.empty() : made.close(failure);
  }
}
