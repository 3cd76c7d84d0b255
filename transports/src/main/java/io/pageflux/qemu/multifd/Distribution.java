package io.pageflux.qemu.multifd;

import io.pageflux.memory.PageSet;
import io.pageflux.memory.RamBlockLayout;
import io.pageflux.memory.RamLayout;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.qemu.stream.QemuStreamSpec;
import io.pageflux.qemu.stream.QemuStreamWriter;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Subscription;
import reactor.core.CoreSubscriber;
import reactor.core.publisher.Flux;

/**
 * Hands out batches to the channels, and writes the main channel's framing. See {@link
 * MultifdOutgoing}.
 *
 * <p>It remembers which pages were sent since the last sync point. Before one of them is sent again
 * it makes another sync point, so between two of them each page is on its way once at the most,
 * whichever channel it takes.
 *
 * <p>{@code wip} admits one thread at a time to the drain, where everything happens.
 */
final class Distribution implements CoreSubscriber<PageBatch> {

  /** Zero pages of so many batches may wait for the main channel. */
  private static final int MAX_WAITING_ON_MAIN = 4;

  private final MultifdOutgoingSpec spec;
  private final QemuStreamSpec stream;
  private final Flux<PageBatch> source;
  private final QemuStreamWriter framing = new QemuStreamWriter();
  private final OutgoingLane main = new OutgoingLane(this);
  private final List<OutgoingLane> channels = new ArrayList<>();
  private final AtomicInteger missing;
  private final AtomicInteger wip = new AtomicInteger();
  private final AtomicLong packetNumbers = new AtomicLong();
  private final MultifdPacketWriter syncs;
  private final RamLayout layout;

  private volatile @Nullable Subscription upstream;
  private volatile @Nullable PageBatch pending;
  private volatile boolean done;
  private volatile boolean cancelled;
  private volatile @Nullable Throwable error;

  // For the drain only.
  private final PageSet[] sentSinceSync;
  private boolean begun;
  private boolean asked;
  private boolean sectionOpen;
  private boolean closed;
  private int nextChannel;

  Distribution(
      MultifdOutgoingSpec spec, QemuStreamSpec stream, int channelCount, Flux<PageBatch> source) {
    this.spec = spec;
    this.stream = stream;
    this.source = source;
    for (int i = 0; i < channelCount; i++) {
      channels.add(new OutgoingLane(this));
    }
    missing = new AtomicInteger(channelCount + 1);
    layout = stream.layout().toRamLayout(stream.targetPageSizeBytes());
    sentSinceSync =
        layout.blocks().stream().map(b -> new PageSet(b.pageCount())).toArray(PageSet[]::new);
    syncs =
        new MultifdPacketWriter(
            MultifdCompression.NONE,
            0,
            stream.targetPageSizeBytes(),
            false,
            packetNumbers::getAndIncrement);
  }

  OutgoingLane main() {
    return main;
  }

  OutgoingLane channel(int i) {
    return channels.get(i);
  }

  /** A writer of packets for this migration. */
  MultifdPacketWriter newWriter() {
    return new MultifdPacketWriter(
        spec.compression(),
        spec.level(),
        stream.targetPageSizeBytes(),
        spec.zeroPagesInPackets(),
        packetNumbers::getAndIncrement);
  }

  /** The source is subscribed to when somebody wants what goes over each connection. */
  void laneSubscribed() {
    if (missing.decrementAndGet() == 0) {
      source.subscribe(this);
    }
  }

  @Override
  public void onSubscribe(Subscription s) {
    upstream = s;
    drain();
  }

  @Override
  public void onNext(PageBatch batch) {
    pending = batch;
    drain();
  }

  @Override
  public void onError(Throwable e) {
    fail(e);
  }

  @Override
  public void onComplete() {
    done = true;
    drain();
  }

  /** Ends all lanes in error. */
  void fail(Throwable e) {
    synchronized (this) {
      if (error == null) {
        error = e;
      }
    }
    drain();
  }

  /** One connection takes no more: the others are of no use without it. */
  void cancel() {
    cancelled = true;
    drain();
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
    if (!cancelled && error == null) {
      try {
        while (!cancelled && error == null && step()) {
          // There may be more to do.
        }
      } catch (RuntimeException e) {
        fail(e); // Another turn of the drain is due now.
        return;
      }
    }
    if (cancelled || error != null) {
      abandon();
    }
  }

  private void abandon() {
    Subscription s = upstream;
    if (s != null) {
      s.cancel();
    }
    PageBatch batch = pending;
    pending = null;
    if (batch != null) {
      batch.release();
    }
    main.clear();
    channels.forEach(OutgoingLane::clear);
    Throwable e = error;
    if (e != null && !cancelled) {
      main.fail(e);
      channels.forEach(lane -> lane.fail(e));
    }
  }

  private boolean step() {
    Subscription s = upstream;
    if (s == null) {
      return false;
    }
    if (!begun) {
      begun = true;
      begin();
    }
    boolean moved = main.emit();
    for (OutgoingLane lane : channels) {
      moved |= lane.emit();
    }
    PageBatch batch = pending;
    if (batch != null) {
      return offer(batch) || moved;
    }
    if (done) {
      if (!closed && haveRoom()) {
        closed = true;
        close();
        return true;
      }
      if (closed) {
        main.completeIfEmpty();
        channels.forEach(OutgoingLane::completeIfEmpty);
      }
    } else if (!asked) {
      asked = true;
      s.request(1);
      return true;
    }
    return moved;
  }

  // ---- what is sent

  private void begin() {
    write(framing.header());
    write(framing.configuration(stream.machineType(), List.of()));
    write(framing.sectionStart());
    write(framing.ramBlocks(stream.layout()));
    sync();
  }

  private boolean offer(PageBatch batch) {
    int block = requireSuitable(batch);
    PageSet sent = sentSinceSync[block];
    if (sectionOpen && containsAny(sent, batch)) {
      if (!haveRoom()) {
        return false;
      }
      sync();
      return true;
    }
    int zeros = batch.count(PageKind.ZERO);
    boolean onMain = zeros > 0 && !spec.zeroPagesInPackets();
    boolean onChannel = zeros < batch.size() || zeros > 0 && spec.zeroPagesInPackets();
    OutgoingLane lane = onChannel ? idleChannel() : null;
    if (onChannel && lane == null || main.waiting() >= MAX_WAITING_ON_MAIN) {
      return false;
    }
    pending = null;
    asked = false;
    if (!sectionOpen && !batch.isEmpty()) {
      sectionOpen = true;
      write(framing.sectionPart());
    }
    for (int i = 0; i < batch.size(); i++) {
      sent.add(batch.page(i));
    }
    if (onMain) {
      write(framing.zeroPages(batch));
    }
    if (lane == null) {
      batch.release();
    } else {
      lane.add(OutgoingItem.of(batch));
    }
    return true;
  }

  private int requireSuitable(PageBatch batch) {
    List<RamBlockLayout> blocks = layout.blocks();
    int block = 0;
    while (block < blocks.size() && !blocks.get(block).equals(batch.block())) {
      block++;
    }
    if (block == blocks.size()) {
      throw new IllegalArgumentException(batch + " is of no block of " + layout);
    }
    if (batch.isCompressed()
        || batch.count(PageKind.DELTA) > 0
        || batch.count(PageKind.PLACED) > 0) {
      throw new IllegalArgumentException(
          "multifd has no deltas and compresses itself, so it cannot take " + batch);
    }
    return block;
  }

  private static boolean containsAny(PageSet sent, PageBatch batch) {
    for (int i = 0; i < batch.size(); i++) {
      if (sent.contains(batch.page(i))) {
        return true;
      }
    }
    return false;
  }

  /** The next channel in turn that takes something at once. */
  private @Nullable OutgoingLane idleChannel() {
    for (int i = 0; i < channels.size(); i++) {
      OutgoingLane lane = channels.get((nextChannel + i) % channels.size());
      if (lane.isIdle()) {
        nextChannel = (nextChannel + i + 1) % channels.size();
        return lane;
      }
    }
    return null;
  }

  /** Whether a sync point may be added to what waits: so no lane falls behind by more than one. */
  private boolean haveRoom() {
    return main.waiting() < MAX_WAITING_ON_MAIN
        && channels.stream().allMatch(lane -> lane.waiting() == 0);
  }

  /** Ends a section, with a sync point. */
  private void sync() {
    if (spec.syncPoints() == MultifdSyncPoints.FLUSH_RECORD) {
      write(framing.multifdFlush());
    }
    write(framing.endOfSection());
    for (OutgoingLane lane : channels) {
      lane.add(OutgoingItem.of(syncs.sync()));
    }
    sectionOpen = false;
    for (PageSet sent : sentSinceSync) {
      sent.clear();
    }
  }

  private void close() {
    if (sectionOpen) {
      sync();
    }
    write(framing.sectionEnd());
    sync();
  }

  private void write(ByteBuffer bytes) {
    main.add(OutgoingItem.of(bytes));
  }
}
