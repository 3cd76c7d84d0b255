package io.pageflux.migration;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import io.pageflux.postcopy.PostcopyMemory;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A guest whose threads read and write pages all the time, each thread its own, and that knows what
 * each byte of its memory has to be: a page holds its version, which is on the heap, too, and moves
 * with the guest because both are in one process.
 */
final class VersionedGuest implements Guest {

  /** What is in the pages, wherever they are: by block and page. */
  static final class Truth {
    final long[][] versions;

    Truth(GuestMemory memory) {
      versions =
          memory.blocks().stream().map(b -> new long[(int) b.pageCount()]).toArray(long[][]::new);
    }
  }

  private static final int THREADS = 3;

  final PostcopyMemory memory;
  private final Truth truth;
  private final long seed;
  private final List<Thread> threads = new ArrayList<>();
  final AtomicLong accesses = new AtomicLong();
  volatile boolean running;
  volatile @Nullable Throwable wrong;
  volatile int restNanos = 20_000;

  VersionedGuest(PostcopyMemory memory, Truth truth, long seed) {
    this.memory = memory;
    this.truth = truth;
    this.seed = seed;
  }

  /** Writes each page as it is to be at first. */
  void fill() {
    for (RamBlock block : memory.memory().blocks()) {
      for (int page = 0; page < block.pageCount(); page++) {
        int version = page % 4 == 3 ? 0 : 1;
        truth.versions[block.index()][page] = version;
        write(block, page, version);
      }
    }
  }

  synchronized void start() {
    if (running) {
      return;
    }
    running = true;
    for (int i = 0; i < THREADS; i++) {
      int number = i;
      threads.add(Thread.ofPlatform().daemon().start(() -> work(number)));
    }
  }

  synchronized void stop() {
    running = false;
    for (Thread thread : threads) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    threads.clear();
  }

  private void work(int number) {
    SplittableRandom random = new SplittableRandom(seed + number + accesses.get() * 31);
    try {
      while (running) {
        for (int i = 0; i < 4; i++) {
          access(random, number);
        }
        LockSupport.parkNanos(restNanos);
      }
    } catch (RuntimeException | Error e) {
      wrong = e;
    }
  }

  private void access(SplittableRandom random, int number) {
    RamBlock block = memory.memory().block(random.nextInt(truth.versions.length));
    int pages = (int) block.pageCount() / THREADS;
    if (pages == 0) {
      return;
    }
    int page = random.nextInt(pages) * THREADS + number;
    long version = truth.versions[block.index()][page];
    int what = random.nextInt(4);
    if (what < 2) {
      check(block, page, version);
    } else if (what == 2) {
      truth.versions[block.index()][page] = version + 1;
      write(block, page, version + 1);
    } else if (version > 0) {
      // A part of the page: its last number, twice, so that it is as it was in the end.
      long at = block.pageOffset(page) + block.pageSizeBytes() - 8;
      memory.putLong(block.index(), at, ~version);
      check(block, page, version, ~version);
      memory.putLong(block.index(), at, last(page, version, block));
    }
    accesses.incrementAndGet();
  }

  private static long last(int page, long version, RamBlock block) {
    return value(page, version, block.pageSizeBytes() / 8 - 1);
  }

  private static long value(int page, long version, int i) {
    // Some versions of a page are all zero.
    return version % 5 == 0 ? 0 : version * 0x9E3779B97F4A7C15L + page * 1_000_003L + i;
  }

  private void write(RamBlock block, int page, long version) {
    long[] numbers = new long[block.pageSizeBytes() / 8];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = Long.reverseBytes(value(page, version, i));
    }
    memory.write(block.index(), block.pageOffset(page), MemorySegment.ofArray(numbers));
  }

  private void check(RamBlock block, int page, long version) {
    check(block, page, version, version == 0 ? 0 : last(page, version, block));
  }

  private void check(RamBlock block, int page, long version, long last) {
    long[] numbers = new long[block.pageSizeBytes() / 8];
    memory.read(block.index(), block.pageOffset(page), MemorySegment.ofArray(numbers));
    for (int i = 0; i < numbers.length; i++) {
      long expected = i == numbers.length - 1 ? last : version == 0 ? 0 : value(page, version, i);
      if (Long.reverseBytes(numbers[i]) != expected) {
        throw new AssertionError(
            "page %d of block %d, word %d: %x, but version %d has %x"
                .formatted(
                    page, block.index(), i, Long.reverseBytes(numbers[i]), version, expected));
      }
    }
  }

  /** Looks at all pages, as they lie in memory. The guest is not running. */
  void verify() {
    Throwable found = wrong;
    if (found != null) {
      throw new AssertionError("the guest has come upon wrong memory", found);
    }
    for (RamBlock block : memory.memory().blocks()) {
      for (int page = 0; page < block.pageCount(); page++) {
        check(block, page, truth.versions[block.index()][page]);
      }
    }
  }

  @Override
  public Mono<Void> pause() {
    return Mono.fromRunnable(this::stop);
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromRunnable(this::start);
  }
}
