package io.pageflux.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A guest that remembers what its memory was each time when its device state was asked for; the
 * state says which time that was. It may write all the time.
 */
final class WatchedGuest implements Guest, AutoCloseable {

  private static final int KEPT = 8;

  final GuestMemory memory;

  /** By their number, from 1; the last ones. */
  final Map<Long, byte[]> snapshots = new ConcurrentHashMap<>();

  private final AtomicLong taken = new AtomicLong();
  final AtomicInteger pauses = new AtomicInteger();
  final AtomicInteger resumes = new AtomicInteger();
  final List<Long> loaded = new CopyOnWriteArrayList<>();
  volatile boolean running;
  volatile @Nullable String refusal;
  private final boolean writes;
  private final long seed;
  private @Nullable Thread writer;

  /**
   * @param writes whether it writes by itself while it runs
   */
  WatchedGuest(GuestMemory memory, boolean writes, long seed) {
    this.memory = memory;
    this.writes = writes;
    this.seed = seed;
  }

  /** All of the memory as it is now. */
  static byte[] contents(GuestMemory memory) {
    ByteBuffer all = ByteBuffer.allocate((int) memory.sizeBytes());
    for (RamBlock block : memory.blocks()) {
      all.put(block.segment().toArray(JAVA_BYTE));
    }
    return all.array();
  }

  byte[] contents() {
    return contents(memory);
  }

  synchronized WatchedGuest start() {
    if (!running) {
      running = true;
      if (writes) {
        SplittableRandom random = new SplittableRandom(seed + resumes.get());
        writer = Thread.ofPlatform().daemon().start(() -> write(random));
      }
    }
    return this;
  }

  synchronized void stop() {
    running = false;
    Thread last = writer;
    writer = null;
    if (last != null) {
      try {
        last.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
  }

  private void write(SplittableRandom random) {
    while (running) {
      for (int i = 0; i < 20; i++) {
        RamBlock block = memory.block(random.nextInt(memory.blocks().size()));
        long offset = random.nextLong(block.sizeBytes() / 8) * 8;
        if (random.nextInt(20) == 0) {
          long page = offset / block.pageSizeBytes() * block.pageSizeBytes();
          block.segment().asSlice(page, block.pageSizeBytes()).fill((byte) 0);
        } else {
          block.segment().set(JAVA_LONG, offset, random.nextLong());
        }
      }
      LockSupport.parkNanos(50_000); // leaves the processors to others, too
    }
  }

  private void requireWillingness(String to) {
    if (to.equals(refusal)) {
      throw new IllegalStateException("it will not " + to);
    }
  }

  @Override
  public Mono<Void> pause() {
    return Mono.fromRunnable(
        () -> {
          requireWillingness("pause");
          pauses.incrementAndGet();
          stop();
        });
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromRunnable(
        () -> {
          requireWillingness("resume");
          resumes.incrementAndGet();
          start();
        });
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return Flux.defer(
        () -> {
          requireWillingness("save");
          long number = taken.incrementAndGet();
          snapshots.put(number, contents());
          snapshots.remove(number - KEPT);
          return Flux.just(ByteBuffer.allocate(8).putLong(number).array());
        });
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return pieces.doOnNext(piece -> loaded.add(ByteBuffer.wrap(piece).getLong())).then();
  }

  /** Requires that a destination's memory is what this guest's was at the checkpoint it holds. */
  void requireSame(HeldCheckpoint held, GuestMemory at) {
    long index = ByteBuffer.wrap(held.deviceState().getFirst()).getLong();
    byte[] then = Objects.requireNonNull(snapshots.get(index), "no snapshot " + index);
    int mismatch = Arrays.mismatch(then, contents(at));
    if (mismatch >= 0) {
      throw new AssertionError(
          "%s, taken as number %d, differs at byte %d".formatted(held, index, mismatch));
    }
  }

  @Override
  public void close() {
    stop();
    memory.close();
  }
}
