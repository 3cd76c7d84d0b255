package io.pageflux.qemu.relay;

import io.pageflux.MigrationException;
import io.pageflux.MigrationException.Kind;
import io.pageflux.codec.XbzrleCaches;
import io.pageflux.codec.XbzrleEncoder;
import io.pageflux.codec.XbzrleSpec;
import io.pageflux.codec.ZstdBatchCompressor;
import io.pageflux.memory.RamLayout;
import io.pageflux.migration.CompressionSpec;
import io.pageflux.operator.OrderedParallelMap;
import io.pageflux.page.PageBatch;
import io.pageflux.page.PageKind;
import io.pageflux.page.SlabPool;
import io.pageflux.qemu.stream.QemuCommand;
import io.pageflux.qemu.stream.QemuElement;
import io.pageflux.qemu.stream.QemuReturnWriter;
import io.pageflux.qemu.stream.QemuStreams;
import io.pageflux.transport.Connection;
import io.pageflux.transport.TransportBuffer;
import io.pageflux.wire.WireRecord;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.FluxSink;
import reactor.core.publisher.Mono;
import reactor.core.publisher.Sinks;
import reactor.core.scheduler.Scheduler;

/** The relay at the source: takes QEMU's stream apart. */
final class RelaySource extends RelayLink {

  /**
   * The most of the return path that may wait for QEMU to read it. QEMU's messages are short, but
   * for the bitmaps by which a post-copy is recovered: this is one of 512 GiB of RAM.
   */
  private static final int MAX_RETURN_BACKLOG_BYTES = 16 << 20;

  /** How long QEMU may take to hear that the migration has failed. */
  private static final Duration LAST_WORD = Duration.ofMillis(500);

  private final XbzrleCaches caches;
  private final Connection qemu;
  private final Scheduler threads;
  private final SlabPool pool;
  private final WireRecord.Hello hello = hello(UUID.randomUUID());
  private final RelayWindow window = new RelayWindow();
  private final @Nullable CompressionChoice choice;
  private final Sinks.One<WireRecord.Hello> answer = Sinks.one();
  private final Sinks.Many<TransportBuffer> toQemu = Sinks.many().unicast().onBackpressureBuffer();
  private int returnBacklogBytes; // guarded by toQemu
  private volatile Mono<Void> toQemuSent = Mono.empty();
  private volatile boolean mayBeTold; // QEMU reads its return path, and has its guest still

  // Only where QEMU's stream is read.
  private @Nullable XbzrleEncoder encoder;
  private @Nullable QemuDoor door;
  private boolean layoutSeen;
  private boolean inPostcopy;
  private long taken;
  // The first record that the window counts before it is compressed; written where QEMU's is read.
  private volatile long firstInPostcopy = Long.MAX_VALUE;
  private long compressed; // only where records are sent

  private int pass;
  private int lastBlock;
  private long lastPage = -1;

  RelaySource(
      RelaySpec spec,
      XbzrleCaches caches,
      Connection qemu,
      Connection peer,
      Scheduler threads,
      Mono<Void> stop,
      FluxSink<RelayInfo> progress) {
    super(spec, peer, stop, progress);
    this.caches = caches;
    this.qemu = qemu;
    this.threads = threads;
    this.pool = new SlabPool(spec.slabs(), spec.geometry());
    this.choice = spec.compression() != null && spec.adaptive() ? new CompressionChoice() : null;
  }

  /** Ends the migration if QEMU opens a further connection; said before it begins. */
  void heedFurtherConnections(QemuDoor other) {
    door = other;
    watch(other);
    watch(other.further().subscribe(v -> {}, this::end));
  }

  @Override
  void begin() {
    attend(channel.receive().doOnNext(this::heard).then());
    attend(channel.send(script(), Function.identity()));
    toQemuSent = attendSending(qemu, toQemu.asFlux());
  }

  private Flux<WireRecord> script() {
    return Flux.concat(
        Flux.just(hello),
        answer.asMono().thenMany(Flux.defer(this::stream)),
        // What is said after the end are signs of life.
        Mono.<WireRecord>fromRunnable(this::streamEnded),
        Flux.never());
  }

  private Flux<WireRecord> stream() {
    Flux<TransportBuffer> bytes =
        qemu.receive().doOnNext(buffer -> statistics.qemuBytes(buffer.bytes().remaining()));
    return QemuStreams.readWithPostcopy(bytes, pool, spec.pageSizeBytes())
        .concatMapIterable(this::records, 1)
        .concatWith(Mono.fromSupplier(WireRecord.StreamEnd::new))
        .concatMap(this::pacedInPostcopy, 0)
        .transform(compress())
        .concatMap(this::pacedBefore, 0)
        .doOnDiscard(QemuElement.class, QemuElement::release)
        .doOnDiscard(WireRecord.Pages.class, pages -> pages.batch().release());
  }

  /** What of QEMU's stream goes to the other relay, and as what. */
  private List<WireRecord> records(QemuElement element) {
    List<WireRecord> records = new ArrayList<>(2);
    switch (element) {
      case QemuElement.Pages pages -> addPages(pages.batch(), records);
      case QemuElement.RamBlocks blocks -> {
        records.add(layout(blocks));
        addPieces(blocks.raw(), records);
      }
      case QemuElement.Command command -> {
        note(command.command());
        addPieces(element.raw(), records);
      }
      case QemuElement.DeviceTail tail -> {
        if (!layoutSeen) {
          keepSmall(); // a post-copy goes on: these are pages, though nobody here reads them
        }
        addPieces(element.raw(), records);
      }
      default -> addPieces(element.raw(), records);
    }
    return records;
  }

  private void note(QemuCommand command) {
    QemuDoor others = door;
    if (command == QemuCommand.OPEN_RETURN_PATH) {
      mayBeTold = true;
    } else if (command == QemuCommand.POSTCOPY_ADVISE && others != null) {
      others.postcopyAdvised();
    } else if (command == QemuCommand.PACKAGED && others != null) {
      others.handedOver();
    }
    if (command.beginsPostcopy() && command != QemuCommand.POSTCOPY_ADVISE) {
      goOverToPostcopy();
    }
  }

  /**
   * From here on pages are sent that the destination has none of, so that there is nothing to make
   * deltas against; and somebody may wait for each, so that there is to be little before it.
   */
  private void goOverToPostcopy() {
    mayBeTold = false; // the loss of a connection can be recovered from, a failure cannot
    endDeltas();
    keepSmall();
  }

  private void keepSmall() {
    if (!inPostcopy) {
      inPostcopy = true;
      window.keepSmall();
    }
  }

  private void endDeltas() {
    XbzrleEncoder deltas = encoder;
    if (deltas != null) {
      deltas.close();
      encoder = null;
    }
  }

  private WireRecord layout(QemuElement.RamBlocks blocks) {
    if (layoutSeen) {
      throw MigrationException.of(
          Kind.PROTOCOL,
          "QEMU's stream lists its RAM blocks twice, the second time at byte " + blocks.offset());
    }
    layoutSeen = true;
    RamLayout layout = blocks.layout().toRamLayout(blocks.pageSizeBytes());
    XbzrleSpec xbzrle = spec.xbzrle();
    if (xbzrle != null) {
      long guestBytes = atLeast(layout.totalBytes());
      encoder =
          new XbzrleEncoder(
              layout, xbzrle.withCacheBytes(Math.min(xbzrle.cacheBytes(), guestBytes)), caches);
      encoder.beginRound(0, true, false);
    }
    return new WireRecord.Layout(layout, spec.geometry());
  }

  /** {@return the power of two that a cache takes to hold so many bytes; at most 2^62} */
  static long atLeast(long bytes) {
    return bytes > 1L << 62 ? 1L << 62 : Long.highestOneBit(2 * bytes - 1);
  }

  private void addPages(PageBatch batch, List<WireRecord> records) {
    int pages = batch.size();
    try {
      encode(batch);
    } catch (RuntimeException e) {
      batch.release();
      throw e;
    }
    statistics.batch(batch, pages - batch.size());
    if (batch.isEmpty()) {
      batch.release();
    } else {
      records.add(new WireRecord.Pages(batch));
    }
  }

  private void encode(PageBatch batch) {
    XbzrleEncoder deltas = encoder;
    if (deltas == null) {
      return;
    }
    if (batch.count(PageKind.DELTA) > 0) {
      // QEMU makes deltas itself. From here on what we remember is not what the destination has.
      endDeltas();
      return;
    }
    notePass(deltas, batch);
    // To remember pages takes memory and a tenth of the processors' time. Where the link is so
    // fast that nothing is compressed, what deltas save is not worth that. No page comes twice in
    // the first pass: none that was remembered is overtaken by one that was not.
    if (pass > 0 || choice == null || !choice.isRaw()) {
      deltas.encode(batch);
    }
  }

  /** QEMU goes through its pages in order, over and over: going back is another pass. */
  private void notePass(XbzrleEncoder deltas, PageBatch batch) {
    int block = batch.blockIndex();
    if (block < lastBlock || block == lastBlock && batch.page(0) <= lastPage) {
      pass++;
      deltas.beginRound(pass, false, false);
    }
    lastBlock = block;
    lastPage = batch.page(batch.size() - 1);
  }

  private Function<Flux<WireRecord>, Flux<WireRecord>> compress() {
    CompressionSpec compression = spec.compression();
    if (compression == null) {
      return Function.identity();
    }
    CompressionEffort effort = new CompressionEffort(compression.level());
    return OrderedParallelMap.of(
        compression.workers(),
        2 * compression.workers(),
        threads,
        () -> new Compressor(compression.level(), effort),
        record -> hasContents(record) instanceof PageBatch batch && isCompressed(batch),
        record -> {
          if (record instanceof WireRecord.Pages pages) {
            pages.batch().release();
          }
        });
  }

  /** {@return a record's pages, if it has pages with contents} */
  private static @Nullable PageBatch hasContents(WireRecord record) {
    return record instanceof WireRecord.Pages pages && pages.batch().payloadBytes() > 0
        ? pages.batch()
        : null;
  }

  private boolean isCompressed(PageBatch batch) {
    CompressionChoice chooser = choice;
    return chooser == null
        || chooser.compress(
            batch.payloadBytes(), channel.bytesWritten(), channel.sendBusyNanos(), now());
  }

  /** In post-copy not even what waits to be compressed may lie before what somebody waits for. */
  private Flux<WireRecord> pacedInPostcopy(WireRecord record) {
    if (inPostcopy && firstInPostcopy == Long.MAX_VALUE) {
      firstInPostcopy = taken;
    }
    taken++;
    return inPostcopy ? paced(record) : Flux.just(record);
  }

  /** Before it, those do that keep the processors busy. */
  private Flux<WireRecord> pacedBefore(WireRecord record) {
    return compressed++ < firstInPostcopy ? paced(record) : Flux.just(record);
  }

  /** Holds back what comes after a record while the window is full. */
  private Flux<WireRecord> paced(WireRecord record) {
    Mono<Void> room = window.sent(RelayRecords.bytes(record), now());
    return room == null ? Flux.just(record) : Flux.just(record).concatWith(room.then(Mono.empty()));
  }

  private void heard(WireRecord record) {
    if (channel.isOver()) {
      return;
    }
    try {
      take(record);
    } catch (RuntimeException e) {
      channel.endOver(e);
    }
  }

  private void take(WireRecord record) {
    switch (record) {
      case WireRecord.Hello theirs -> {
        requireRelay(hello, theirs);
        if (answer.tryEmitValue(theirs).isFailure()) {
          throw outOfTurn(record);
        }
      }
      case WireRecord.Progress progress -> {
        if (!window.passedOn(progress.pages(), now())) {
          throw MigrationException.of(
              Kind.PROTOCOL,
              "%s has passed on %d records, it says, which is not possible"
                  .formatted(channel.peer(), progress.pages()));
        }
      }
      case WireRecord.Stream piece -> returnToQemu(piece.bytes());
      case WireRecord.StreamEnd end -> returnEnded();
      case WireRecord.Failure failure ->
          throw MigrationException.reportedByPeer(failure.kind(), failure.message());
      case WireRecord.KeepAlive k -> {}
      default -> throw outOfTurn(record);
    }
  }

  private void returnToQemu(byte[] bytes) {
    statistics.returned(bytes.length);
    synchronized (toQemu) {
      returnBacklogBytes += bytes.length;
      if (returnBacklogBytes > MAX_RETURN_BACKLOG_BYTES) {
        throw MigrationException.of(
            Kind.TRANSPORT,
            "%s does not read its return path: %d bytes wait"
                .formatted(qemu.peer(), returnBacklogBytes));
      }
    }
    toQemu.tryEmitNext(
        new TransportBuffer(
            ByteBuffer.wrap(bytes),
            () -> {
              synchronized (toQemu) {
                returnBacklogBytes -= bytes.length;
              }
            }));
  }

  @Override
  RelayInfo info() {
    return statistics.info(channel.bytesWritten(), window.windowBytes(), now());
  }

  @Override
  Mono<Void> finish() {
    return super.finish().then(close());
  }

  @Override
  Mono<Void> fail(Throwable e) {
    // At once: to QEMU this is the loss of its destination, and its guest goes on.
    // The other relay hears of it meanwhile: who was told to stop may not have long.
    return Mono.whenDelayError(tellQemu().then(Mono.fromRunnable(qemu::dispose)), super.fail(e))
        .then(close());
  }

  /**
   * Says that the migration has failed, where QEMU listens. What the destination was saying may
   * have been cut short; then this is no message to QEMU, but nothing that it takes for success.
   */
  private Mono<Void> tellQemu() {
    return Mono.defer(
        () -> {
          if (!mayBeTold) {
            return Mono.<Void>empty();
          }
          TransportBuffer word =
              TransportBuffer.of(QemuReturnWriter.shut(QemuReturnWriter.FAILURE));
          try {
            toQemu.emitNext(word, Sinks.EmitFailureHandler.busyLooping(LAST_WORD));
            toQemu.emitComplete(Sinks.EmitFailureHandler.busyLooping(LAST_WORD));
          } catch (RuntimeException e) {
            return Mono.<Void>empty(); // nobody sends any more
          }
          return toQemuSent.timeout(LAST_WORD, Mono.empty(), timer);
        });
  }

  private Mono<Void> close() {
    return Mono.fromRunnable(qemu::dispose)
        .then(pool.closeWhenIdle().timeout(RelayRecords.RELEASE_TIMEOUT, timer))
        .doFinally(
            signal -> {
              XbzrleEncoder deltas = encoder;
              if (deltas != null) {
                deltas.close();
              }
            });
  }

  /** Compresses batches in one thread. */
  private final class Compressor implements OrderedParallelMap.Worker<WireRecord> {

    private final ZstdBatchCompressor zstd;
    private final CompressionEffort effort;

    Compressor(int level, CompressionEffort effort) {
      this.zstd = new ZstdBatchCompressor(level);
      this.effort = effort;
    }

    @Override
    public WireRecord apply(WireRecord record) {
      if (record instanceof WireRecord.Pages pages) {
        zstd.setLevel(effort.level(window.heldBackShare(), channel.sendBusyNanos(), now()));
        zstd.compress(pages.batch());
      }
      return record;
    }

    @Override
    public void close() {
      zstd.close();
    }
  }
}
