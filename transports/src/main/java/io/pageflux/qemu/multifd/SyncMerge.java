package io.pageflux.qemu.multifd;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.transport.TransportBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.Disposable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Operators;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;
import reactor.util.context.Context;

/**
 * Merges the lines of a migration: in any order between two sync points, but none overtakes a sync
 * point. See {@link MultifdIncoming}.
 */
final class SyncMerge extends Flux<QemuElement> {

  private final MultifdIncomingSpec spec;
  private final List<Flux<TransportBuffer>> connections;
  private final SlabPool pool;
  private final Scheduler clock;

  SyncMerge(
      MultifdIncomingSpec spec,
      List<Flux<TransportBuffer>> connections,
      SlabPool pool,
      Scheduler clock) {
    this.clock = clock;
    this.spec = spec;
    this.connections = connections;
    this.pool = pool;
  }

  @Override
  public void subscribe(CoreSubscriber<? super QemuElement> actual) {
    Merge merge = new Merge(actual, spec, clock);
    List<Source> sources = new ArrayList<>();
    for (Flux<TransportBuffer> bytes : connections) {
      sources.add(new Source(merge, new IncomingLine(spec, pool, merge, bytes)));
    }
    merge.start(sources, spec.workers());
  }

  /**
   * One line. It is asked for one piece at a time, and for the next when that has been passed on:
   * so behind a SYNC nothing is read before all lines have theirs.
   */
  private static final class Source implements CoreSubscriber<LinePiece> {
    private final Merge merge;
    private final IncomingLine line;
    private volatile @Nullable LinePiece head;
    private volatile boolean done;
    private volatile @Nullable Subscription subscription;

    Source(Merge merge, IncomingLine line) {
      this.merge = merge;
      this.line = line;
    }

    @Override
    public Context currentContext() {
      return merge.actual.currentContext();
    }

    @Override
    public void onSubscribe(Subscription s) {
      subscription = s;
      if (merge.over) {
        s.cancel();
      } else {
        s.request(1);
      }
    }

    @Override
    public void onNext(LinePiece piece) {
      head = piece;
      merge.drain();
    }

    @Override
    public void onError(Throwable e) {
      done = true;
      merge.fail(e);
    }

    @Override
    public void onComplete() {
      done = true;
      merge.drain();
    }

    boolean atSync() {
      return head instanceof LinePiece.Sync;
    }

    boolean isSilent() {
      return head == null && !done && line.waitsForPeer();
    }

    void next() {
      head = null;
      Subscription s = subscription;
      if (s != null) {
        s.request(1);
      }
    }

    void end() {
      Subscription s = subscription;
      if (s != null) {
        s.cancel();
      }
    }

    void clear() {
      LinePiece piece = head;
      head = null;
      if (piece != null) {
        piece.release();
      }
    }
  }

  /**
   * The subscription. {@code wip} admits one thread at a time to the drain, so that all signals to
   * {@code actual} are serial. Only the drain takes pieces from their sources, also after the end.
   */
  private static final class Merge implements Subscription, IncomingLine.Session {
    private final CoreSubscriber<? super QemuElement> actual;
    private final MultifdIncomingSpec spec;
    private final Scheduler clock;
    private final Sinks.One<RamLayout> layout = Sinks.one();
    private final AtomicInteger wip = new AtomicInteger();
    private final AtomicLong requested = new AtomicLong();

    private volatile List<Source> sources = List.of();
    private volatile @Nullable Disposable ticks;
    private volatile @Nullable Throwable error;

    /** Cancelled, or ended: whoever sees it gives back what he has. */
    private volatile boolean over;

    private volatile boolean heard;
    private volatile @Nullable MultifdSyncPoints syncPoints;

    // Guarded by the monitor.
    private @Nullable IncomingLine main;
    private final IncomingLine[] channels;

    // For the drain only.
    private int syncs;
    private long progressNanos;
    private boolean inEnd;
    private boolean ramEnded;

    Merge(CoreSubscriber<? super QemuElement> actual, MultifdIncomingSpec spec, Scheduler clock) {
      this.clock = clock;
      this.actual = actual;
      this.spec = spec;
      this.syncPoints = spec.syncPoints();
      this.channels = new IncomingLine[spec.channels()];
    }

    void start(List<Source> all, @Nullable Scheduler workers) {
      sources = all;
      progressNanos = clock.now(TimeUnit.NANOSECONDS);
      actual.onSubscribe(this);
      long period = Math.max(1, spec.syncTimeout().toNanos() / 4);
      ticks = clock.schedulePeriodically(this::drain, period, period, TimeUnit.NANOSECONDS);
      for (Source source : all) {
        if (over) {
          break;
        }
        Flux<LinePiece> pieces = source.line.pieces();
        // Requests hop to a worker, so that the lines are taken apart side by side.
        (workers == null ? pieces : pieces.subscribeOn(workers, true)).subscribe(source);
      }
      if (over) {
        stop();
      }
    }

    // ---- what the lines find

    @Override
    public void heard() {
      heard = true;
    }

    @Override
    public synchronized void foundMain(IncomingLine line) {
      if (main != null) {
        throw MigrationException.of(
            Kind.PROTOCOL,
            "two connections do not begin like multifd channels, so which is the main one? Does"
                + " the peer have multifd switched on?");
      }
      main = line;
    }

    @Override
    public synchronized void foundChannel(IncomingLine line, int channel) {
      if (channels[channel] != null) {
        throw MigrationException.of(
            Kind.PROTOCOL, "two connections say that they are multifd channel " + channel);
      }
      channels[channel] = line;
    }

    @Override
    public void foundLayout(RamLayout found) {
      layout.tryEmitValue(found);
    }

    @Override
    public Mono<RamLayout> layout() {
      return layout.asMono();
    }

    @Override
    public boolean isSyncPoint(QemuElement element) {
      boolean flush = element instanceof QemuElement.MultifdFlush;
      if (!flush && !(element instanceof QemuElement.EndOfRamData)) {
        return false;
      }
      MultifdSyncPoints found =
          flush ? MultifdSyncPoints.FLUSH_RECORD : MultifdSyncPoints.EVERY_SECTION;
      if (syncPoints == null) {
        syncPoints = found;
      }
      return syncPoints == found;
    }

    // ---- the subscription

    @Override
    public void request(long n) {
      if (Operators.validate(n)) {
        requested.accumulateAndGet(n, Operators::addCap);
        drain();
      }
    }

    @Override
    public void cancel() {
      over = true;
      stop();
      drain();
    }

    void fail(Throwable e) {
      synchronized (this) {
        if (error == null) {
          error = e; // The others are its consequences.
        }
      }
      drain();
    }

    private void stop() {
      Disposable ticking = ticks;
      if (ticking != null) {
        ticking.dispose();
      }
      for (Source source : sources) {
        source.end();
      }
    }

    void drain() {
      if (wip.getAndIncrement() != 0) {
        return;
      }
      int missed = 1;
      do {
        pass();
        missed = wip.addAndGet(-missed);
      } while (missed != 0);
    }

    private void pass() {
      boolean moved = false;
      while (!over && error == null && step()) {
        moved = true;
      }
      if (!over && error == null) {
        if (sources.stream().allMatch(s -> s.done && s.head == null)) {
          over = true;
          stop();
          actual.onComplete();
          return;
        }
        checkTime(moved);
      }
      Throwable failure = error;
      if (!over && failure != null) {
        over = true;
        stop();
        sources.forEach(Source::clear); // Nobody who hears of the error shall find a slab leased.
        actual.onError(failure);
      }
      if (over) {
        sources.forEach(Source::clear);
      }
    }

    /** Passes on what each line has. {@return whether anything moved} */
    private boolean step() {
      boolean moved = false;
      for (Source source : sources) {
        if (!over && source.head instanceof LinePiece.Element piece && takeDemand()) {
          moved = true;
          if (check(source, piece.element())) {
            source.head = null;
            actual.onNext(piece.element());
            source.next();
          }
        }
      }
      return moved || !over && error == null && passSync();
    }

    private boolean takeDemand() {
      long n = requested.get();
      if (n == 0) {
        return false;
      }
      if (n != Long.MAX_VALUE) {
        requested.decrementAndGet();
      }
      return true;
    }

    /** Sees to it that no page comes after the RAM's end. {@return whether the element may pass} */
    private boolean check(Source source, QemuElement element) {
      if (element instanceof QemuElement.SectionEnd) {
        inEnd = true;
      } else if (inEnd && element instanceof QemuElement.Footer) {
        ramEnded = true;
      } else if (ramEnded && element instanceof QemuElement.Pages) {
        fail(
            MigrationException.of(
                Kind.PROTOCOL,
                "%s sends pages behind the last sync point".formatted(source.line.name())));
        return false;
      }
      return true;
    }

    /** Lets all lines pass the sync point if all are there. {@return whether anything moved} */
    private boolean passSync() {
      Source mainSource = null;
      boolean all = true;
      for (Source source : sources) {
        all &= source.atSync();
        if (source.line.isMain()) {
          mainSource = source;
        }
      }
      if (mainSource == null) {
        return false;
      }
      if (all && mainSource.head instanceof LinePiece.Sync(QemuElement element)) {
        if (element == null || !takeDemand()) {
          return false;
        }
        syncs++;
        mainSource.head = null;
        actual.onNext(element);
        sources.forEach(Source::next);
        return true;
      }
      return mainSource.done && mainSource.head == null
          ? skipSyncs()
          : mainSource.atSync() && requireAllToCome();
    }

    /** The main channel has ended: SYNCs that still come separate nothing any more. */
    private boolean skipSyncs() {
      boolean moved = false;
      for (Source source : sources) {
        if (source.atSync()) {
          source.next();
          moved = true;
        }
      }
      return moved;
    }

    private boolean requireAllToCome() {
      for (Source source : sources) {
        if (source.done && source.head == null) {
          fail(
              MigrationException.of(
                  Kind.TRANSPORT,
                  "%s has ended without the SYNC for sync point %d of the main channel"
                      .formatted(source.line.name(), syncs)));
          return true;
        }
      }
      return false;
    }

    private void checkTime(boolean moved) {
      long now = clock.now(TimeUnit.NANOSECONDS);
      boolean waiting = false;
      boolean atSync = false;
      boolean mainEnded = false;
      boolean held = false;
      for (Source source : sources) {
        waiting |= source.isSilent();
        atSync |= source.atSync();
        mainEnded |= source.done && source.line.isMain();
        held |= source.head instanceof LinePiece.Element;
      }
      boolean stalled = waiting && !held && (atSync || mainEnded);
      if (moved || heard || !stalled) {
        heard = false;
        progressNanos = now;
      } else if (now - progressNanos >= spec.syncTimeout().toNanos()) {
        fail(MigrationException.of(Kind.TIMEOUT, stalled(mainEnded)));
      }
    }

    private String stalled(boolean mainEnded) {
      String silent =
          sources.stream()
              .filter(Source::isSilent)
              .map(source -> source.line.name())
              .collect(Collectors.joining(", "));
      return mainEnded
          ? "the main channel has ended, but not %s, for %s".formatted(silent, spec.syncTimeout())
          : "sync point %d has not been reached by %s for %s, while others wait for it there"
              .formatted(syncs, silent, spec.syncTimeout());
    }
  }
}
