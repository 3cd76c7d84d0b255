package io.pageflux.migration;

import io.pageflux.codec.XbzrleSpec;
import io.pageflux.dirty.ReportedWrites;
import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.page.BatchGeometry;
import io.pageflux.transport.Acceptor;
import io.pageflux.transport.Connector;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A guest of 4 KiB that writes between rounds, so that a migration of it has every kind of record
 * and page and is the same each time: three rounds, batches plain and compressed, zero, raw and
 * delta pages, and device state.
 */
final class TinyGuest implements Guest, AutoCloseable {

  static final BatchGeometry GEOMETRY = new BatchGeometry(3, 4096);
  static final byte[] DEVICE_STATE = {1, 2, 3, 4, 5};

  final GuestMemory memory =
      GuestMemory.builder().pageSize(512).anonymous("ram", 3072).memfd("vga", 512).build();
  final ReportedWrites tracker = new ReportedWrites(memory);
  final AtomicInteger pauses = new AtomicInteger();
  final AtomicInteger resumes = new AtomicInteger();
  volatile boolean running;
  volatile byte[] loaded = {};

  /** The guest as a source has it: running, with contents. */
  static TinyGuest atSource() {
    TinyGuest guest = new TinyGuest();
    guest.reset();
    return guest;
  }

  /** Has the guest run, with the contents that it begins with. */
  void reset() {
    running = true;
    pauses.set(0);
    resumes.set(0);
    RamBlock ram = memory.block(0);
    ram.segment().fill((byte) 0);
    ram.segment().asSlice(512, 1024).fill((byte) 'a'); // compresses
    byte[] noise = new byte[512];
    Random random = new Random(5);
    random.nextBytes(noise); // does not
    MemorySegment.copy(noise, 0, ram.segment(), ValueLayout.JAVA_BYTE, 1536, 512);
    memory.block(1).segment().fill((byte) 'v');
  }

  /** Has the guest not run, and its memory cleared. */
  void clear() {
    running = false;
    pauses.set(0);
    resumes.set(0);
    loaded = new byte[0];
    memory.blocks().forEach(block -> block.segment().fill((byte) 0));
  }

  /** What the guest writes after a round. */
  void write(MigrationEvent event) {
    if (event instanceof MigrationEvent.RoundCompleted(RoundReport report) && running) {
      switch (report.round()) {
        case 1 -> {
          tracker.putLong(0, 600, 0x0102030405060708L); // a delta
          tracker.fill(0, 1024, 512, (byte) 0); // a page that becomes zero
        }
        case 2 -> {
          tracker.putLong(0, 700, 0x1112131415161718L);
          tracker.putLong(0, 2048, 7); // a zero page that becomes another
        }
        default -> {}
      }
    }
  }

  OutgoingSpec outgoing(Connector connector) {
    return OutgoingSpec.of(memory, this, connector)
        .withTracker(ignored -> tracker)
        .withGeometry(GEOMETRY)
        .withSlabs(4)
        .withXbzrle(XbzrleSpec.DEFAULT.withCacheBytes(8192))
        .withCompression(new CompressionSpec(1, 1))
        .withDowntimeLimit(Duration.ZERO)
        .withMaxRounds(2);
  }

  Mono<MigrationInfo> migrate(OutgoingSpec spec) {
    return MigrationRun.result(OutgoingMigration.of(spec).events().doOnNext(this::write));
  }

  Mono<MigrationInfo> migrate(Connector connector) {
    return migrate(outgoing(connector));
  }

  IncomingSpec incoming(Acceptor acceptor) {
    return IncomingSpec.of(memory, this, acceptor).withWorkers(1).withMaxGeometry(GEOMETRY);
  }

  Mono<MigrationInfo> receive(Acceptor acceptor) {
    return IncomingMigration.of(incoming(acceptor)).run();
  }

  boolean sameMemory(TinyGuest other) {
    for (RamBlock block : memory.blocks()) {
      if (block.segment().mismatch(other.memory.block(block.index()).segment()) >= 0) {
        return false;
      }
    }
    return true;
  }

  @Override
  public Mono<Void> pause() {
    return Mono.fromRunnable(
        () -> {
          pauses.incrementAndGet();
          running = false;
        });
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromRunnable(
        () -> {
          resumes.incrementAndGet();
          running = true;
        });
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return Flux.just(DEVICE_STATE);
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return pieces.doOnNext(piece -> loaded = Arrays.copyOf(piece, piece.length)).then();
  }

  @Override
  public void close() {
    memory.close();
  }
}
