package io.pageflux.migration;

import io.pageflux.memory.GuestMemory;
import io.pageflux.memory.RamBlock;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * A guest whose threads write to its memory all the time while it runs, and that notices when it
 * runs twice.
 */
final class WritingGuest implements Guest {

  private final GuestMemory memory;
  private final AtomicInteger runningGuests;
  private final byte[] deviceState;
  private final List<Thread> threads = new ArrayList<>();
  private volatile boolean running;
  volatile boolean refuseToPause;
  volatile boolean refuseToResume;
  volatile boolean ranTwice;
  volatile byte[] loadedState = {};

  WritingGuest(GuestMemory memory, AtomicInteger runningGuests, byte[] deviceState) {
    this.memory = memory;
    this.runningGuests = runningGuests;
    this.deviceState = deviceState;
  }

  boolean isRunning() {
    return running;
  }

  synchronized void start() {
    if (running) {
      return;
    }
    running = true;
    if (runningGuests.incrementAndGet() > 1) {
      ranTwice = true;
    }
    for (int i = 0; i < 2; i++) {
      long seed = System.nanoTime() + i;
      threads.add(Thread.ofPlatform().daemon().start(() -> write(seed)));
    }
  }

  synchronized void stop() {
    if (!running) {
      return;
    }
    running = false;
    for (Thread thread : threads) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
    }
    threads.clear();
    runningGuests.decrementAndGet();
  }

  private void write(long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    while (running) {
      for (int i = 0; i < 50; i++) {
        RamBlock block = memory.block(random.nextInt(memory.blocks().size()));
        long bytes = block.sizeBytes() / (random.nextInt(3) > 0 ? 8 : 1);
        long offset = random.nextLong(bytes / 8) * 8;
        if (random.nextInt(100) == 0) {
          long page = offset / block.pageSizeBytes() * block.pageSizeBytes();
          block.segment().asSlice(page, block.pageSizeBytes()).fill((byte) 0);
        } else {
          block.segment().set(ValueLayout.JAVA_LONG, offset, random.nextLong());
        }
      }
      LockSupport.parkNanos(100_000); // leaves the two cores of a small machine to others, too
    }
  }

  @Override
  public Mono<Void> pause() {
    return Mono.fromRunnable(
        () -> {
          if (refuseToPause) {
            throw new IllegalStateException("it will not stop");
          }
          stop();
        });
  }

  @Override
  public Mono<Void> resume() {
    return Mono.fromRunnable(
        () -> {
          if (refuseToResume) {
            throw new IllegalStateException("it will not start");
          }
          start();
        });
  }

  @Override
  public Flux<byte[]> saveDeviceState() {
    return Flux.just(deviceState);
  }

  @Override
  public Mono<Void> loadDeviceState(Flux<byte[]> pieces) {
    return pieces
        .reduce(
            new byte[0],
            (a, b) -> {
              byte[] both = java.util.Arrays.copyOf(a, a.length + b.length);
              System.arraycopy(b, 0, both, a.length, b.length);
              return both;
            })
        .doOnNext(state -> loadedState = state)
        .then();
  }
}
