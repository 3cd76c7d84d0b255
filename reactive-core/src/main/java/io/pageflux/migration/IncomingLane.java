package io.pageflux.migration;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.RecordDecompressor;
import io.pageflux.channel.SlabRelease;
import io.pageflux.channel.WireChannel;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connection;
import io.pageflux.wire.Feature;
import io.pageflux.wire.Negotiation;
import io.pageflux.wire.WireLimits;
import io.pageflux.wire.WireRecord;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.Disposable;
import reactor.core.Disposables;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/**
 * The destination's end of the connection on which pages are asked for and come.
 *
 * <p>The acceptor is anybody's: a connection belongs to the migration if it greets with its
 * session, which nobody else knows. Others are told that they are not awaited; {@value #GREETERS}
 * may be greeting at a time, each for {@code GREETING}, so that one that says nothing holds nobody
 * up.
 *
 * <p><b>Memory bound:</b> {@value #SLABS} slabs of the migration's geometry.
 */
final class IncomingLane {

  private static final int GREETERS = 4;
  private static final Duration GREETING = Duration.ofSeconds(5);
  private static final int SLABS = 2;

  private final RamLayout layout;
  private final UUID session;
  private final Duration peerTimeout;
  private final Scheduler timer;
  private final Consumer<PageBatch> onPages;
  private final Consumer<Throwable> onFailure;
  private final SlabPool pool;
  private final Disposable.Swap accepting = Disposables.swap();
  private final Disposable.Composite watches = Disposables.composite();

  // Guarded by this object's monitor.
  private final List<Candidate> candidates = new ArrayList<>();
  private @Nullable Candidate chosen;
  private boolean closed;

  /**
   * @param onPages takes the pages that come, on the connection's thread; they are released after
   * @param onFailure learns of whatever goes wrong with the lane that was found
   */
  IncomingLane(
      RamLayout layout,
      BatchGeometry geometry,
      UUID session,
      Duration peerTimeout,
      Scheduler timer,
      Consumer<PageBatch> onPages,
      Consumer<Throwable> onFailure) {
    this.layout = layout;
    this.session = session;
    this.peerTimeout = peerTimeout;
    this.timer = timer;
    this.onPages = onPages;
    this.onFailure = onFailure;
    this.pool = new SlabPool(SLABS, geometry);
  }

  /** Awaits the connection, in the background. */
  void accept(Acceptor acceptor) {
    accepting.update(
        Mono.just(acceptor)
            .hide()
            .<Connection>flatMap(Acceptor::accept)
            .repeat()
            .flatMap(this::greet, GREETERS, 1)
            .doOnDiscard(Connection.class, Connection::dispose)
            .subscribe(v -> {}, this::notAccepted));
  }

  private void notAccepted(Throwable e) {
    if (!isFound()) {
      onFailure.accept(e);
    }
  }

  /** {@return whether the connection is there} */
  synchronized boolean isFound() {
    return chosen != null;
  }

  /** Completes when the candidate is known to be the lane, or none of it. */
  private Mono<Void> greet(Connection connection) {
    Candidate candidate = new Candidate(connection);
    synchronized (this) {
      if (closed) {
        connection.dispose();
        return Mono.empty();
      }
      candidates.add(candidate);
    }
    return candidate
        .greeted()
        .timeout(
            GREETING,
            Mono.error(
                () ->
                    MigrationException.of(
                        Kind.TIMEOUT, "nothing was said within " + MigrationText.of(GREETING))),
            timer)
        .onErrorResume(e -> candidate.sendAway(MigrationException.ofAny(e)));
  }

  /** Asks for a page. From any thread. */
  void request(int block, long page) {
    Candidate lane;
    synchronized (this) {
      lane = chosen;
    }
    if (lane == null) {
      throw new IllegalStateException("there is no lane");
    }
    try {
      lane.channel.say(new WireRecord.PageRequest(block, page, 1));
    } catch (MigrationException e) {
      onFailure.accept(e);
    }
  }

  /** {@return bytes of records that have come} */
  long bytesRead() {
    Candidate lane;
    synchronized (this) {
      lane = chosen;
    }
    return lane == null ? 0 : lane.channel.bytesRead();
  }

  /** Closes the lane and whoever was greeting, and frees the slabs. */
  Mono<Void> close(@Nullable MigrationException failure) {
    return Mono.defer(
        () -> {
          accepting.dispose();
          watches.dispose();
          List<Candidate> all;
          Candidate lane;
          synchronized (this) {
            closed = true;
            all = List.copyOf(candidates);
            lane = chosen;
          }
          return Flux.fromIterable(all)
              .flatMap(
                  candidate ->
                      failure == null && candidate == lane
                          ? candidate.channel.finish(true)
                          : candidate.channel.hangUp(
                              failure == null ? MigrationRun.cancelled() : failure,
                              // Those who were still greeting need no farewell.
                              candidate == lane && failure != null && !failure.isFromPeer()))
              .then(SlabRelease.of(pool, "requested pages"));
        });
  }

  /** A connection that may be the lane. */
  private final class Candidate {

    final WireChannel channel;
    private final Connection connection;
    private final Sinks.Empty<Void> greeting = Sinks.empty();
    private boolean known; // Only where records are heard.

    Candidate(Connection connection) {
      this.connection = connection;
      this.channel = new WireChannel(connection, peerTimeout, timer, this::failed);
    }

    Mono<Void> greeted() {
      return Mono.defer(
          () -> {
            channel.receive().doOnNext(this::heard).then().subscribe(v -> {}, this::failed);
            channel.send(Flux.never(), Function.identity()).subscribe(v -> {}, this::failed);
            return greeting.asMono();
          });
    }

    private void failed(Throwable e) {
      if (isChosen()) {
        onFailure.accept(e);
      } else {
        greeting.tryEmitError(e);
      }
    }

    private boolean isChosen() {
      synchronized (IncomingLane.this) {
        return chosen == this;
      }
    }

    private void heard(WireRecord record) {
      if (channel.isOver()) {
        // It was read just before the end, and who closes this waits for its slab.
        RecordDecompressor.release(record);
        return;
      }
      try {
        take(record);
      } catch (RuntimeException | VirtualMachineError e) {
        // If not even memory were told of, the connection's thread would swallow it.
        channel.endOver(MemoryFault.written(e));
      }
    }

    private void take(WireRecord record) {
      switch (record) {
        case WireRecord.Hello theirs -> hello(theirs);
        case WireRecord.Pages pages -> {
          try {
            onPages.accept(pages.batch());
          } finally {
            pages.batch().release();
          }
        }
        case WireRecord.Failure failure ->
            throw MigrationException.reportedByPeer(failure.kind(), failure.message());
        case WireRecord.KeepAlive k -> {}
        default -> throw outOfTurn(record);
      }
    }

    private MigrationException outOfTurn(WireRecord record) {
      return MigrationException.of(
          Kind.PROTOCOL,
          "%s sent a %s record on the connection for requested pages"
              .formatted(channel.peer(), record.getClass().getSimpleName()));
    }

    private void hello(WireRecord.Hello theirs) {
      if (known) {
        throw outOfTurn(theirs);
      }
      known = true;
      WireRecord.Hello ours =
          new WireRecord.Hello(
              WireLimits.VERSION,
              WireLimits.VERSION,
              Feature.POSTCOPY.mask(),
              0,
              theirs.session(),
              theirs.channel(),
              theirs.channels(),
              WireLimits.SOFTWARE);
      boolean awaited = theirs.session().equals(session) && theirs.channel() == 1;
      boolean first = awaited && choose();
      // Chosen before the source can know: it goes on at once when it hears our HELLO.
      channel.say(ours);
      Negotiation.of(ours, theirs);
      if (!awaited) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "another migration's connection for requested pages is awaited here, but %s opened channel"
                    .formatted(channel.peer())
                + " %d of %d of session %s"
                    .formatted(theirs.channel(), theirs.channels(), theirs.session()));
      }
      if (!first) {
        throw MigrationException.of(
            Kind.PROTOCOL, "the connection for requested pages was opened twice");
      }
      watches.add(channel.watchPeer().subscribe(v -> {}, this::failed));
      watches.add(channel.keepAlive().subscribe(v -> {}, this::failed));
      accepting.dispose(); // Nobody else is awaited.
      greeting.tryEmitEmpty();
    }

    private boolean choose() {
      synchronized (IncomingLane.this) {
        if (chosen != null || closed) {
          return false;
        }
        channel.expectPages(layout, pool, 0);
        chosen = this;
        return true;
      }
    }

    /** Tells somebody that he is not awaited. The others go on. */
    Mono<Void> sendAway(MigrationException reason) {
      return channel
          .hangUp(reason, !reason.isFromPeer())
          .doFinally(
              signal -> {
                connection.dispose();
                synchronized (IncomingLane.this) {
                  candidates.remove(this);
                }
              })
          .onErrorComplete();
    }
  }
}
