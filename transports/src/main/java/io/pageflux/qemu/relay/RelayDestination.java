package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.channel.MadeConnection;
import io.pageflux.channel.MigrationText;
import io.pageflux.channel.RecordDecompressor;
import io.pageflux.page.BatchGeometry;
import io.pageflux.page.Lease;
import io.pageflux.page.PageBatch;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuStreamWriter;
import io.pageflux.transport.Connection;
import io.pageflux.transport.Connector;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.Feature;
import io.pageflux.wire.WireRecord;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;
import reactor.core.publisher.Mono;
import reactor.core.scheduler.Scheduler;

/** The relay at the destination: puts QEMU's stream together again. */
final class RelayDestination extends RelayLink {

  /** How often at least the other relay learns of what was passed on. */
  private static final Duration ACKNOWLEDGE_INTERVAL = Duration.ofMillis(10);

  private final Connector qemuConnector;
  private final Scheduler threads;
  private final Connection peer;
  private final RelayDoor door;
  private final MadeConnection line = new MadeConnection();
  private final QemuStreamWriter writer = new QemuStreamWriter();
  private final QemuOutput output = new QemuOutput(this::acknowledge);

  private volatile boolean met; // it is a relay that has said hello
  private volatile @Nullable Connection qemu;
  private volatile @Nullable SlabPool arriving;
  private boolean greeted; // only where records arrive
  private long acknowledged; // guarded by output
  private volatile int otherRecords; // that were taken and are no buffers; written by one thread
  private boolean ended; // only where records are taken

  RelayDestination(
      RelaySpec spec,
      Connection peer,
      Connector qemuConnector,
      Scheduler threads,
      Mono<Void> stop,
      FluxSink<RelayInfo> progress,
      RelayDoor door) {
    super(spec, peer, stop, progress);
    this.peer = peer;
    this.door = door;
    this.qemuConnector = qemuConnector;
    this.threads = threads;
  }

  @Override
  void begin() {
    attend(channel.send(Flux.never(), Function.identity()));
    attend(
        channel
            .receive()
            .doOnNext(this::arrived)
            .transform(RecordDecompressor.of(channel, spec.workers(), threads, this::slab))
            .concatMap(this::next, 0)
            .doOnDiscard(WireRecord.Pages.class, pages -> pages.batch().release())
            .then());
    watch(
        Flux.interval(ACKNOWLEDGE_INTERVAL, timer)
            .onBackpressureDrop()
            .subscribe(tick -> acknowledge(), this::end));
  }

  /**
   * Takes a layout as soon as it arrives. Records wait for one another to be taken, and the first
   * ones for the connection to QEMU; the batches that follow a layout are read meanwhile, and have
   * to be known by then.
   */
  private void arrived(WireRecord record) {
    if (channel.isOver()) {
      return;
    }
    try {
      switch (record) {
        case WireRecord.Hello hello -> greeted = true;
        case WireRecord.Layout layout -> layout(layout);
        default -> {}
      }
    } catch (RuntimeException e) {
      channel.endOver(e);
    }
  }

  private Mono<Void> next(WireRecord record) {
    if (channel.isOver()) {
      RecordDecompressor.release(record);
      return Mono.empty();
    }
    try {
      return take(record);
    } catch (RuntimeException e) {
      channel.endOver(e);
      return Mono.empty();
    }
  }

  private Mono<Void> take(WireRecord record) {
    if (RelayRecords.counts(record) && (ended || hasReturnEnded() && hasBytes(record))) {
      RecordDecompressor.release(record);
      throw ended ? outOfTurn(record) : closedEarly();
    }
    switch (record) {
      case WireRecord.Hello theirs -> {
        return hello(theirs);
      }
      case WireRecord.Layout layout -> otherRecords++;
      case WireRecord.Pages pages -> {
        return pages(pages.batch());
      }
      case WireRecord.Stream piece -> {
        requireQemu(record);
        return put(ByteBuffer.wrap(piece.bytes()), () -> {});
      }
      case WireRecord.StreamEnd end -> {
        requireQemu(record);
        ended = true;
        return output
            .drained()
            .then(
                Mono.fromRunnable(
                    () -> {
                      otherRecords++;
                      acknowledge();
                      streamEnded();
                    }));
      }
      case WireRecord.Failure failure ->
          throw MigrationException.reportedByPeer(failure.kind(), failure.message());
      case WireRecord.KeepAlive k -> {}
      default -> throw outOfTurn(record);
    }
    return Mono.empty();
  }

  private static boolean hasBytes(WireRecord record) {
    return record instanceof WireRecord.Pages || record instanceof WireRecord.Stream;
  }

  private void requireQemu(WireRecord record) {
    if (qemu == null) {
      throw outOfTurn(record);
    }
  }

  private Mono<Void> hello(WireRecord.Hello theirs) {
    if (qemu != null) {
      throw outOfTurn(theirs);
    }
    WireRecord.Hello ours = hello(theirs.session());
    // Even if they do not suit one another the peer is to know what we are.
    channel.say(ours);
    requireRelay(ours, theirs);
    met = true;
    door.dispose();
    return channel
        .busy(
            Mono.<Connection>from(qemuConnector.connect())
                .timeout(
                    spec.peerTimeout(),
                    Mono.error(
                        () ->
                            MigrationException.of(
                                Kind.TIMEOUT,
                                "the destination's QEMU does not answer within "
                                    + spec.peerTimeout().toSeconds()
                                    + " s")),
                    timer)
                .doOnNext(line::made)
                .doOnNext(this::connected)
                .then())
        .onErrorResume(
            e -> {
              channel.endOver(e);
              return Mono.empty();
            });
  }

  private void connected(Connection connection) {
    qemu = connection;
    attendSending(connection, output.buffers());
    attend(
        connection
            .receive()
            .concatMapIterable(RelayLink::pieces, 1)
            .doOnNext(
                piece -> {
                  statistics.returned(RelayRecords.bytes(piece));
                  channel.say(piece);
                })
            .then(
                Mono.fromRunnable(
                    () -> {
                      channel.say(new WireRecord.StreamEnd());
                      returnEnded();
                    })));
  }

  private void layout(WireRecord.Layout theirs) {
    if (!greeted || arriving != null) {
      throw outOfTurn(theirs);
    }
    BatchGeometry geometry = theirs.geometry();
    BatchGeometry most = spec.geometry();
    if (geometry.maxPages() > most.maxPages() || geometry.payloadBytes() > most.payloadBytes()) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "the source's relay sends batches of up to %d pages and %d bytes, this one takes %d and %d"
              .formatted(
                  geometry.maxPages(),
                  geometry.payloadBytes(),
                  most.maxPages(),
                  most.payloadBytes()));
    }
    // Two for each worker and one that it decompresses into, one that is being read, one that is
    // being written, and those on their way to QEMU.
    SlabPool slabs = new SlabPool(3 * spec.workers() + 2 + QemuOutput.MAX_BUFFERS, geometry);
    arriving = slabs;
    channel.expectPages(theirs.layout(), slabs, Feature.all());
  }

  private @Nullable Lease slab() {
    SlabPool slabs = arriving;
    return slabs == null ? null : slabs.tryAcquire();
  }

  private Mono<Void> pages(PageBatch batch) {
    if (qemu == null) {
      batch.release();
      throw outOfTurn(new WireRecord.Pages(batch));
    }
    statistics.batch(batch, 0);
    TransportBuffer records;
    try {
      records = writer.pages(batch);
    } catch (RuntimeException e) {
      batch.release();
      throw e;
    }
    return put(records.bytes(), records::release);
  }

  private Mono<Void> put(ByteBuffer bytes, Runnable onRelease) {
    statistics.qemuBytes(bytes.remaining());
    return output.put(bytes, onRelease);
  }

  /** Says how many records were passed on; at once, or as soon as there is nothing else to say. */
  private void acknowledge() {
    synchronized (output) {
      long now = output.written() + otherRecords;
      if (now > acknowledged
          && channel.sayIfIdle(new WireRecord.Progress(channel.bytesRead(), now))) {
        acknowledged = now;
      }
    }
  }

  @Override
  RelayInfo info() {
    return statistics.info(channel.bytesRead(), 0, now());
  }

  @Override
  boolean turnsAway(MigrationException failure) {
    if (met || failure.kind() == Kind.CANCELLED) {
      return false;
    }
    door.tell(peer, MigrationText.of(failure));
    return true;
  }

  @Override
  Mono<Void> finish() {
    return super.finish().then(close());
  }

  @Override
  Mono<Void> fail(Throwable e) {
    // At once: QEMU must not take what it has for all there is.
    return Mono.fromRunnable(line::close).then(super.fail(e)).then(close());
  }

  private Mono<Void> close() {
    return Mono.defer(
        () -> {
          line.close();
          writer.close();
          SlabPool slabs = arriving;
          return slabs == null
              ? Mono.<Void>empty()
              : slabs.closeWhenIdle().timeout(RelayRecords.RELEASE_TIMEOUT, timer);
        });
  }
}
