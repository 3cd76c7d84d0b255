package io.pageflux.examples.bench.convergence;

import io.pageflux.memory.RamBlock;
import io.pageflux.migration.Guest;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;
import reactor.core.publisher.Mono;

/**
 * A guest that writes pages of a block at random, none more often than another, and knows what it
 * has written: in each page, how often it did.
 */
final class HotGuest implements Guest, AutoCloseable {

  private static final int PAGE = 4096;
  private static final long TICK_NANOS = 1_000_000;

  /** What it could not do for longer than that, it does not make up for. */
  private static final long LATE_NANOS = 100_000_000;

  private final MemorySegment memory;
  private final long[] versions;
  private final double bytesPerSecond;
  private final SplittableRandom random = new SplittableRandom(5);
  private volatile int throttlePercent;
  private volatile boolean stopped = true;
  private volatile long writes;
  private @Nullable Thread thread;

  HotGuest(RamBlock block, double bytesPerSecond) {
    this.memory = block.segment();
    this.versions = new long[(int) (block.sizeBytes() / PAGE)];
    this.bytesPerSecond = bytesPerSecond;
    for (int page = 0; page < versions.length; page++) {
      write(page);
    }
  }

  private void write(int page) {
    memory.set(ValueLayout.JAVA_LONG, (long) page * PAGE, ++versions[page]);
  }

  private void run() {
    double due = 0;
    long last = System.nanoTime();
    while (!stopped) {
      LockSupport.parkNanos(TICK_NANOS);
      long now = System.nanoTime();
      double share = (100 - throttlePercent) / 100.0;
      due += bytesPerSecond * share * Math.min(LATE_NANOS, now - last) / 1e9 / PAGE;
      last = now;
      for (; due >= 1; due--) {
        write(random.nextInt(versions.length));
        writes = writes + 1; // Only this thread writes it.
      }
    }
  }

  /** {@return how often it has written} */
  long writes() {
    return writes;
  }

  /** {@return whether its memory is what it has written; to be asked while it is paused} */
  boolean isWhole() {
    for (int page = 0; page < versions.length; page++) {
      if (memory.get(ValueLayout.JAVA_LONG, (long) page * PAGE) != versions[page]) {
        return false;
      }
    }
    return true;
  }

  private synchronized void start() {
    if (thread == null) {
      stopped = false;
      thread = Thread.ofPlatform().name("hot-guest").daemon().start(this::run);
    }
  }

  private synchronized void stop() {
    stopped = true;
    Thread running = thread;
    if (running != null) {
      try {
        running.join();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IllegalStateException("interrupted while the guest was being paused", e);
      }
      thread = null;
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

  @Override
  public boolean canThrottle() {
    return true;
  }

  @Override
  public Mono<Void> throttle(int percent) {
    return Mono.fromRunnable(() -> throttlePercent = percent);
  }

  @Override
  public void close() {
    stop();
  }
}
