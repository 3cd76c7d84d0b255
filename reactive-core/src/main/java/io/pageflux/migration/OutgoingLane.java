package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.SlabRelease;
import io.pageflux.channel.WireChannel;
import io.pageflux.codec.ZeroTest;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.postcopy.OwedPages;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireRecord;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.util.concurrent.Queues;

/**
 * The source's end of the connection on which pages are asked for and sent, past all that is being
 * pushed on the other one.
 *
 * <p><b>Ordering and threading:</b> a request is served on the thread that reads it, the
 * connection's, if a slab is free: a hop to another thread would cost more than to copy the page.
 *
 * <p><b>Memory bound:</b> {@value #SLABS} slabs that hold a page of the largest size and at least 4
 * KiB; 24 bytes for each of the requests that wait, which the destination was told not to exceed.
 */
final class OutgoingLane {

  private static final int SLABS = 8;
  private static final int MAX_PAGES = 8;

  private record Wanted(int block, long first, int count) {}

  private final GuestMemory memory;
  private final WireRecord.Hello hello;
  private final Duration peerTimeout;
  private final Scheduler timer;
  private final Consumer<Throwable> onFailure;
  private final OutgoingStatistics statistics;
  private final SlabPool pool;
  private final MadeConnection line = new MadeConnection();
  private final Answer<WireRecord.Hello> greeted = new Answer<>();
  private final Disposable.Composite watches = Disposables.composite();

  private final Sinks.Many<Wanted> wanted =
      Sinks.unsafe()
          .many()
          .unicast()
          .onBackpressureBuffer(Queues.<Wanted>unboundedMultiproducer().get());
  private final AtomicInteger waiting = new AtomicInteger();
  private volatile @Nullable WireChannel channel;
  private volatile @Nullable OwedPages owed;
  private volatile int maxRequests;
  private volatile long requests;

  /**
   * @param hello what this end says first
   * @param onFailure learns of whatever goes wrong once the lane is there
   */
  OutgoingLane(
      GuestMemory memory,
      WireRecord.Hello hello,
      Duration peerTimeout,
      Scheduler timer,
      OutgoingStatistics statistics,
      Consumer<Throwable> onFailure) {
    this.memory = memory;
    this.hello = hello;
    this.peerTimeout = peerTimeout;
    this.timer = timer;
    this.statistics = statistics;
    this.onFailure = onFailure;
    int page = memory.layout().largestPageSizeBytes();
    this.pool = new SlabPool(SLABS, new BatchGeometry(MAX_PAGES, Math.max(4096, page)));
  }

  /** Connects, and completes when both ends have greeted one another. */
  Mono<Void> open(Connector connector) {
    return Mono.just(connector)
        .hide()
        .<Connection>flatMap(Connector::connect)
        .doOnNext(line::made)
        .doOnDiscard(Connection.class, Connection::dispose) // not below: it is ignored there
        .doOnNext(this::attend)
        .then(Mono.defer(greeted::asMono))
        .doOnNext(this::requireSameMigration)
        .timeout(
            peerTimeout,
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.TIMEOUT,
                        "the destination has not accepted the connection for requested pages within "
                            + MigrationText.of(peerTimeout))),
            timer)
        .then();
  }

  private void requireSameMigration(WireRecord.Hello theirs) {
    Negotiation.of(hello, theirs);
    if (!theirs.session().equals(hello.session()) || theirs.channel() != hello.channel()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the connection for requested pages was answered for channel %d of session %s"
              .formatted(theirs.channel(), theirs.session()));
    }
  }

  private void attend(Connection connection) {
    WireChannel made = new WireChannel(connection, peerTimeout, timer, onFailure);
    channel = made;
    greeted.ask();
    made.receive().doOnNext(record -> heard(made, record)).then().subscribe(v -> {}, onFailure);
    made.send(script(), Function.identity()).subscribe(v -> {}, onFailure);
    watches.add(made.watchPeer().subscribe(v -> {}, onFailure));
    watches.add(made.keepAlive().subscribe(v -> {}, onFailure));
  }

  private Flux<WireRecord> script() {
    return Flux.concat(
        Mono.just(hello),
        wanted.asFlux().concatMap(this::serve, 1).doOnDiscard(Lease.class, Lease::release),
        Flux.<WireRecord>never());
  }

  private void heard(WireChannel from, WireRecord record) {
    if (from.isOver()) {
      return;
    }
    try {
      switch (record) {
        case WireRecord.Hello theirs -> {
          if (!greeted.give(theirs)) {
            throw outOfTurn(from, record);
          }
        }
        case WireRecord.PageRequest request -> asked(request);
        case WireRecord.Failure failure ->
            throw MigrationException.reportedByPeer(failure.kind(), failure.message());
        case WireRecord.KeepAlive k -> {}
        default -> throw outOfTurn(from, record);
      }
    } catch (RuntimeException | VirtualMachineError e) {
      from.endOver(e);
    }
  }

  private static MigrationException outOfTurn(WireChannel from, WireRecord record) {
    return MigrationException.of(
        Kind.PROTOCOL,
        "%s sent a %s record on the connection for requested pages"
            .formatted(from.peer(), record.getClass().getSimpleName()));
  }

  private void asked(WireRecord.PageRequest request) {
    OwedPages pages = owed;
    if (pages == null) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the destination requests a page, but this is no post-copy yet: " + request);
    }
    if (waiting.addAndGet(request.count()) > maxRequests) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the destination has more than the %d pages requested at a time that it has announced"
              .formatted(maxRequests));
    }
    pages.requireRequestable(request.block(), request.first(), request.count());
    requests += request.count();
    wanted.tryEmitNext(new Wanted(request.block(), request.first(), request.count()));
  }

  /** From here on pages may be asked for. */
  void serveFrom(OwedPages pages, int mostRequests) {
    maxRequests = mostRequests;
    owed = pages;
  }

  private Flux<WireRecord> serve(Wanted asked) {
    int most = pool.geometry().pagesPerBatch(memory.block(asked.block()).pageSizeBytes());
    return Flux.<Long, Long>generate(
            asked::first,
            (first, sink) -> {
              sink.next(first);
              long next = first + most;
              if (next >= asked.first() + asked.count()) {
                sink.complete();
              }
              return next;
            })
        .concatMap(first -> serve(asked, first, most), 0);
  }

  private Mono<WireRecord> serve(Wanted asked, long first, int most) {
    long end = Math.min(asked.first() + asked.count(), first + most);
    // Not by flatMap, which loses a slab that is on its way when it is cancelled.
    return slab().mapNotNull(lease -> answer(asked.block(), first, end, lease));
  }

  private @Nullable WireRecord answer(int block, long first, long end, Lease lease) {
    PageBatch batch;
    try {
      batch = read(block, first, end, lease);
    } catch (RuntimeException | VirtualMachineError e) {
      // Reactor would throw it at whoever has freed the slab, which may be the connection's thread.
      onFailure.accept(MemoryFault.read(e));
      return null;
    }
    waiting.addAndGet((int) (first - end));
    if (batch.isEmpty()) {
      batch.release(); // They were pushed meanwhile.
      return null;
    }
    statistics.demanded(batch);
    return new WireRecord.Pages(batch);
  }

  private Mono<Lease> slab() {
    return Mono.defer(
        () -> {
          Lease free = pool.tryAcquire();
          return free != null ? Mono.just(free) : pool.acquire();
        });
  }

  private PageBatch read(int blockIndex, long first, long end, Lease lease) {
    OwedPages pages = owed;
    RamBlock block = memory.block(blockIndex);
    BatchGeometry geometry = pool.geometry();
    PageBatch batch =
        new PageBatch(blockIndex, block.layout(), lease, geometry.headroomBytes(), geometry);
    try {
      for (long page = first; page < end; page++) {
        if (pages != null && pages.take(blockIndex, page)) {
          append(batch, block, page);
        }
      }
      return batch;
    } catch (RuntimeException | Error e) {
      batch.release();
      throw e;
    }
  }

  private static void append(PageBatch batch, RamBlock block, long page) {
    int bytes = block.pageSizeBytes();
    long at = block.pageOffset(page);
    // The guest is paused: nobody writes to the page any more, so it may be looked at twice.
    if (ZeroTest.isZero(block.segment(), at, bytes)) {
      batch.append(page, PageKind.ZERO, 0);
    } else {
      long to = batch.payloadOffset() + batch.payloadBytes();
      batch.append(page, PageKind.RAW, bytes);
      MemorySegment.copy(block.segment(), at, batch.slab(), to, bytes);
    }
  }

  /** {@return how many pages were asked for} */
  long requests() {
    return requests;
  }

  /** {@return bytes of records that were sent here} */
  long bytesWritten() {
    WireChannel made = channel;
    return made == null ? 0 : made.bytesWritten();
  }

  /**
   * Closes the lane and frees its slabs, when the connection has let go of them.
   *
   * @param failure why; null if all is well
   */
  Mono<Void> close(@Nullable MigrationException failure) {
    return Mono.defer(
            () -> {
              watches.dispose();
              WireChannel made = channel;
              if (made == null) {
                return Mono.empty();
              }
              return failure == null
                  ? made.finish(false)
                  : made.hangUp(failure, !failure.isFromPeer());
            })
        .doFinally(signal -> line.close())
        .then(SlabRelease.of(pool, "requested pages"));
  }
}
